package server

import "mfsstandby/changelog/meta"

// maxJobs is how many requests too long for one look at the image are worked
// on at once.
const maxJobs = 4

// Statuses that only this protocol knows.
const (
	statusIO            meta.Status = 22
	statusNotOpened     meta.Status = 17
	statusAgain         meta.Status = 45
	statusENOENTNoCache meta.Status = 48
	statusNotAdmin      meta.Status = 49
	statusNoPassword    meta.Status = 36
	statusBadPassword   meta.Status = 37
)
