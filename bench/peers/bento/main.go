// Bento with only the components that the bench uses: a small program that is built in minutes.
package main

import (
	"context"

	"github.com/warpstreamlabs/bento/public/service"

	// "postgres" among the SQL drivers; Bento takes no other one under this name.
	_ "github.com/lib/pq"

	_ "github.com/warpstreamlabs/bento/public/components/amqp09"
	_ "github.com/warpstreamlabs/bento/public/components/cypher"
	_ "github.com/warpstreamlabs/bento/public/components/pure"
	_ "github.com/warpstreamlabs/bento/public/components/sql/base"
)

func main() {
	service.RunCLI(context.Background(), service.CLIOptSetBinaryName("bento"))
}
