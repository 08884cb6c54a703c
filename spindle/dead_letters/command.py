"""`spindle dead-letters`: what was set aside, why, and what is to become of it."""

import argparse
import asyncio
import sys
from collections import Counter, deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import product
from typing import Any

from rich.console import Console

from common.errors import BrokerUnavailable, StartRefused
from common.rabbitmq.ops.fates import Drop, Fate, Keep
from common.rabbitmq.ops.putting import put_all
from common.rabbitmq.ops.rotation import WINDOW
from common.settings.environment import load as load_settings
from common.settings.programs import ProgramSettings
from spindle.dead_letters.arguments import add_actions
from spindle.dead_letters.choosing import Choice, choice_of
from spindle.dead_letters.each import listing
from spindle.dead_letters.editing import BY_HAND, Edits, edited, edited_by_hand
from spindle.dead_letters.exporting import STANDARD_OUTPUT, exporting_to, with_body
from spindle.dead_letters.importing import by_queue, letters_of, missing, sign_of
from spindle.dead_letters.letter import Letter
from spindle.dead_letters.loads import newest_in_stores
from spindle.dead_letters.policies import limits_of_letters, warnings
from spindle.dead_letters.replaying import Replay
from spindle.dead_letters.reporting import list_data, replay_data, show_edit, show_import, show_list, show_replay
from spindle.dead_letters.showing import show_letters
from spindle.dead_letters.summary import Summary
from spindle.dead_letters.sweep import Passage
from spindle.environments import environment_of
from spindle.output import json_text, wide_console
from spindle.progress import following


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add this command to the operator's."""
    summary = "look at, edit, replay, drop, export or import what could never be stored"
    add_actions(commands.add_parser("dead-letters", help=summary, description=summary), run)


def run(arguments: argparse.Namespace) -> int:
    """Do one action; return the exit code."""
    environ = environment_of(arguments)
    desk = Actions(arguments, environ, choice_of(arguments))
    action = {
        "list": desk.list,
        "show": desk.show,
        "export": desk.export,
        "import": desk.put_back,
        "edit": desk.edit,
        "replay": desk.replay,
        "drop": desk.drop,
    }
    try:
        return asyncio.run(action[arguments.action]())
    except BrokerUnavailable as error:
        again = "run it again, or with --without-copying" if "without_copying" in arguments else "run it again"
        raise BrokerUnavailable(f"{error}. Every letter that is not done is still there: {again}.") from error


@dataclass(frozen=True, slots=True)
class Actions:
    """One action on the chosen letters."""

    arguments: argparse.Namespace
    environ: Mapping[str, str]
    choice: Choice
    _warned: set[str] = field(default_factory=set)

    async def list(self) -> int:
        """Count by group, or show a line per letter."""
        if self.arguments.each:
            with listing(as_json=self.arguments.json) as lines:
                await self._look(lines.add)
            return 0
        summary = Summary()
        passage = await self._look(summary.add)
        self._say(list_data(summary, passage), lambda console: show_list(summary, passage, console))
        return 0

    async def show(self) -> int:
        """Show letters with their bodies."""
        letters: list[Letter] = []
        await self._look(lambda letter: letters.append(letter) if len(letters) < self.arguments.limit else None)
        self._say(
            [with_body(each) for each in letters],
            lambda console: show_letters(letters, console),
        )
        return 0 if letters else 1

    async def export(self) -> int:
        """Write letters to a file, or to standard output."""
        with exporting_to(self.arguments.to) as export:
            await self._look(export.add)
        if self.arguments.to == STANDARD_OUTPUT:
            print(f"{export.count:,} letters written", file=sys.stderr)
            return 0
        self._say(
            {"exported": export.count, "file": str(self.arguments.to)},
            lambda console: console.print(f"{export.count:,} letters written to {self.arguments.to}", markup=False),
        )
        return 0

    async def put_back(self) -> int:
        """Put exported letters back into their queues: those that are not there."""
        now = datetime.now(UTC)
        chosen = [
            letter
            for letter in letters_of(self.arguments.source)
            if letter.service in self.choice.services
            and letter.kind in self.choice.kinds
            and self.choice.takes(letter, now)
        ]
        there = Counter[object]()
        of_any_age = replace(self.choice, older_than=None, newer_than=None)  # or one at the limit is not seen here
        await replace(self, choice=of_any_age)._look(lambda letter: there.update([sign_of(letter)]))
        lacking = missing(chosen, there)
        refused = 0
        for (service, kind), stored in by_queue(lacking).items():
            if not self.arguments.dry_run:
                queue = self._settings.names.dead_letter_queue(service, kind)
                refused += await put_all(self._settings.broker, queue, stored)
        data = {
            "imported": len(lacking) - refused,
            "there_already": len(chosen) - len(lacking),
            "refused": refused,
            "dry_run": self.arguments.dry_run,
        }
        self._say(data, lambda console: show_import(data, console))
        return 1 if refused else 0

    async def edit(self) -> int:
        """Send records back with changes."""
        self._need_a_choice()
        letters, outdated = await self._to_edit()
        changes, edits = self.arguments.changes, Edits(self._settings.names)
        if not changes and len(letters) > BY_HAND and self.arguments.limit is None:
            raise StartRefused(
                f"{len(letters):,} letters would be opened in an editor: say --limit, or --set PATH=VALUE"
            )
        edits.make(
            letters,
            lambda each: edited(each.stored.body, changes) if changes else edited_by_hand(each, self.environ),
        )
        planned = edits.waiting
        if planned and not self.arguments.dry_run:
            self._ask(f"Send {planned:,} edited records back?", "edited")
            await self._go(edits.judge)
        data = {
            "edited": planned if self.arguments.dry_run else edits.sent,
            "unchanged": edits.unchanged,
            "refused": edits.refused,
            "gone": 0 if self.arguments.dry_run else edits.waiting,
            "outdated": outdated,
            "not_editable": edits.not_editable,
            "dry_run": self.arguments.dry_run,
        }
        self._say(data, lambda console: show_edit(data, console))
        return 1 if edits.not_editable or data["refused"] or data["gone"] or outdated else 0

    async def _to_edit(self) -> tuple[Sequence[Letter], int]:
        """The chosen letters, and how many are left because they are older than the newest load, as at a replay."""
        letters = deque[Letter]()
        looked = await self._look(letters.append)
        in_stores, silent = await newest_in_stores(self.environ, self.choice)
        self._warn(silent)
        newest = max(looked.newest_load or "", in_stores or "") or None
        replay = Replay(self._settings.names, newest, force=self.arguments.force)
        current = [letter for letter in letters if not replay.is_outdated(letter)]
        limit = self.arguments.limit
        return current[:limit], len(letters) - len(current)

    async def replay(self) -> int:
        """Send letters back."""
        self._need_a_choice()
        summary = Summary()
        looked = await self._look(summary.add)
        in_stores, silent = await newest_in_stores(self.environ, self.choice)
        newest = max(looked.newest_load or "", in_stores or "") or None
        names = self._settings.names
        replay = Replay(names, newest, force=self.arguments.force, limit=self.arguments.limit)
        self._warn(silent)
        if self.arguments.dry_run:
            await self._look(_dry(replay))
        else:
            rate: float | None = self.arguments.rate
            window = WINDOW if rate is None else max(1, min(WINDOW, int(rate * 60)))
            await self._go(replay.judge, pace=1 / rate if rate else 0.0, window=window)
        dry_run = self.arguments.dry_run
        self._say(replay_data(replay, dry_run=dry_run), lambda console: show_replay(replay, console, dry_run=dry_run))
        return 1 if replay.refused or (replay.outdated and not self.arguments.dry_run) else 0

    async def drop(self) -> int:
        """Remove letters."""
        self._need_a_choice()
        summary = Summary()
        seen = Counter[Hashable]()

        def see(letter: Letter) -> None:
            summary.add(letter)
            seen[letter.service, letter.kind, letter.mark] += 1

        await self._look(see)
        limit = summary.count if self.arguments.limit is None else min(summary.count, self.arguments.limit)
        dropped = 0
        if not self.arguments.dry_run and limit:
            self._ask(f"Remove {limit:,} dead letters for good?")
            dropped = await self._drop(limit, seen)
        said = "would be dropped" if self.arguments.dry_run else "dropped"
        count = limit if self.arguments.dry_run else dropped
        self._say(
            {"dropped": dropped, "chosen": summary.count, "dry_run": self.arguments.dry_run},
            lambda console: console.print(f"{count:,} of {summary.count:,} letters {said}"),
        )
        return 0 if self.arguments.dry_run or dropped == limit else 1

    async def _drop(self, limit: int, seen: Counter[Hashable]) -> int:
        """Remove those of these marks: what has come since nobody has been asked about."""
        dropped = 0

        def judge(letter: Letter) -> Fate:
            nonlocal dropped
            this = letter.service, letter.kind, letter.mark
            if dropped >= limit or not seen[this]:
                return Keep()
            seen[this] -= 1
            dropped += 1
            return Drop()

        await self._go(judge)
        return dropped

    @property
    def _settings(self) -> ProgramSettings:
        return load_settings(ProgramSettings, self.environ)

    async def _look(self, see: Callable[[Letter], object]) -> Passage:
        def judge(letter: Letter) -> Fate:
            see(letter)
            return Keep()

        return await self._go(judge, copying=not getattr(self.arguments, "without_copying", False))

    async def _go(
        self, judge: Callable[[Letter], Fate], *, copying: bool = True, pace: float = 0.0, window: int = WINDOW
    ) -> Passage:
        settings = self._settings
        limits = await limits_of_letters(self.environ)
        queues = [settings.names.dead_letter_queue(*each) for each in product(self.choice.services, self.choice.kinds)]
        self._warn(warnings(limits, queues))
        with following() as on_done:
            passage = Passage(
                settings.broker,
                settings.names,
                self.choice,
                copying=copying,
                pace=pace,
                window=window,
                limits=limits,
                on_done=on_done,
            )
            await passage.go(judge)
        self._warn(passage.said)
        return passage

    def _warn(self, sentences: Sequence[str]) -> None:
        """Say on standard error what is no result, once a command."""
        for sentence in sentences:
            if sentence not in self._warned:
                self._warned.add(sentence)
                print(f"spindle: {sentence}", file=sys.stderr)

    def _need_a_choice(self) -> None:
        if not (self.choice.is_narrow or self.arguments.all):
            raise StartRefused(f"say which letters to {self.arguments.action}: with filters, or with --all")

    def _ask(self, question: str, done: str = "dropped") -> None:
        if self.arguments.yes:
            return
        if not sys.stdin.isatty():
            raise StartRefused("nobody can be asked here: say --yes")
        print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise StartRefused(f"nothing was {done}")

    def _say(self, data: Any, show: Callable[[Console], object]) -> None:
        if self.arguments.json:
            print(json_text(data, indent=2))
        else:
            show(wide_console())


def _dry(replay: Replay) -> Callable[[Letter], None]:
    """Count what would be replayed."""

    def see(letter: Letter) -> None:
        fate = replay.judge(letter)
        if not isinstance(fate, Keep):
            replay.replayed += 1
            replay.failed_again += letter.replays > 0

    return see
