//go:build tools

// Package tools makes the Consul server a dependency, since `go install` cannot build it:
// its go.mod replaces modules by folders.
package tools

import (
	_ "github.com/hashicorp/consul"
)
