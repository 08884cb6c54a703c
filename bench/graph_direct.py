"""Other ways into Neo4j, straight from memory or a file, without queue, hash check or acknowledgement.

That favours them: what they are given is parsed already, and is known to be new.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, LiteralString

from bench.arms import Run, Watch
from bench.graph_cypher import (
    RELEASES,
    edge_statement,
    load_csv_statement,
    load_csv_statements,
    write_csv,
    write_csv_files,
)
from bench.graph_records import EDGES, Carried
from bench.graph_store import Graph
from bench.stage import Stage

_TIMEOUT = 300.0


class Direct:
    """An arm without a process of its own; how it writes, say those who inherit."""

    def __init__(self, name: str, stage: Stage, carried: Carried) -> None:
        self.name, self.stage, self.carried = name, stage, carried
        self._graph: Graph | None = None

    @property
    def graph(self) -> Graph:
        """The graph, from `prepare` to `end`."""
        assert self._graph is not None
        return self._graph

    async def prepare(self) -> None:
        """Have an empty graph."""
        self._graph = Graph(self.stage)
        await self._graph.empty()

    async def check(self) -> None:
        """Compare."""
        await self.graph.compare(self.carried)

    def processes(self) -> Mapping[str, int]:
        """None of its own."""
        return {}

    async def end(self) -> None:
        """Disconnect."""
        if self._graph is not None:
            await self._graph.close()
            self._graph = None


class Merging(Direct):
    """`UNWIND … MERGE`, a statement for the releases and one per sort of edge, `size` records to a transaction.

    With a size of 1 it is the old way: a transaction per record.
    """

    def __init__(self, name: str, stage: Stage, carried: Carried, *, size: int) -> None:
        super().__init__(name, stage, carried)
        self._size = size

    async def run(self, watch: Watch) -> Run:
        """Write batch after batch through one session."""
        batches = list(self._batches())
        async with self.graph.driver.session(database=self.stage.neo4j_database) as session:
            watch.start()
            for statements in batches:
                async with await session.begin_transaction(timeout=_TIMEOUT) as transaction:
                    for statement, rows in statements:
                        await (await transaction.run(statement, {"rows": rows})).consume()
                    await transaction.commit()
            watch.stop()
        return Run(len(self.carried))

    def _batches(self) -> Iterator[list[tuple[LiteralString, list[dict[str, Any]]]]]:
        for start in range(0, len(self.carried), self._size):
            yield list(self._statements(range(start, min(start + self._size, len(self.carried)))))

    def _statements(self, positions: Sequence[int]) -> Iterator[tuple[LiteralString, list[dict[str, Any]]]]:
        messages, nodes, load = self.carried.messages, self.carried.nodes, self.stage.load.date
        yield (
            RELEASES,
            [
                {
                    "id": messages[at].id,
                    "properties": {**nodes[at].properties, "hash": messages[at].sha256, "load": load},
                }
                for at in positions
            ],
        )
        for place, edge in enumerate(EDGES):
            rows = [
                {"id": messages[at].id, "end": end, "by": by} for at in positions for end, by in nodes[at].edges[place]
            ]
            if rows:
                yield edge_statement(edge), rows


class LoadCsv(Direct):
    """`LOAD CSV` of one file in the server's own transactions of 500 rows: no client takes part."""

    async def prepare(self) -> None:
        """Have the file too."""
        await super().prepare()
        self._file = self.stage.folder / f"{self.name}.csv"
        if not self._file.exists():
            write_csv(self._file, self.carried, load=self.stage.load.date)

    async def run(self, watch: Watch) -> Run:
        """Run the one statement."""
        statement = load_csv_statement(self._file)
        watch.start()
        await self.graph.ask(statement)
        watch.stop()
        return Run(len(self.carried))


class LoadCsvFiles(Direct):
    """`LOAD CSV` as it is mostly done: a file of the releases, then one per sort of edge, 500 rows a transaction."""

    async def prepare(self) -> None:
        """Have the files too."""
        await super().prepare()
        self._folder = self.stage.folder / self.name
        if not self._folder.exists():
            write_csv_files(self._folder, self.carried, load=self.stage.load.date)

    async def run(self, watch: Watch) -> Run:
        """Run a statement per file."""
        statements = load_csv_statements(self._folder)
        watch.start()
        for statement in statements:
            await self.graph.ask(statement)
        watch.stop()
        return Run(len(self.carried))
