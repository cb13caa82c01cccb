package e2e

import (
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	Main()
	churnMain()
	os.Exit(m.Run())
}
