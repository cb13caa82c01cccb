package bench

import (
	"context"
	"fmt"
	"os"
	"testing"
)

// childFlag makes the test binary run a job, as the command's hidden flag does.
const childFlag = "-bench-job"

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == childFlag {
		if err := RunJob(context.Background(), os.Args[2], os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}
