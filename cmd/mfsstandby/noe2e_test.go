//go:build !e2e

package main

// asWorkload does nothing: only tests with real clients have workloads.
func asWorkload() {}
