// The tools that the tests drive; see build.sh. Never run `go mod tidy` here: it adds the test
// dependencies of dependencies, which the checksum database cannot verify.
module facet.dev/tools

go 1.22

require github.com/hashicorp/consul v1.19.2

// Asked for by others, not needed here, and not always found in the checksum database.
exclude (
	github.com/hashicorp/go-msgpack v1.1.5
	github.com/hashicorp/go-msgpack v1.1.6
)
