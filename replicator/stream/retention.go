package stream

import "time"

// Retention limits how much history is kept: base images and the entries since
// the oldest of them. The newest base image stays in any case. What a limit of 0
// says nothing about.
type Retention struct {
	Keep    int           // base images at most
	MaxAge  time.Duration // base images are dropped once the next one is older than this
	MaxSize int64         // bytes at most, of base images and entries, as they are stored
}

// DropOldest tells whether the oldest of the base images, which come oldest
// first, is to be dropped; bytes is what is stored now.
func (r Retention) DropOldest(bases []Base, now time.Time, bytes int64) bool {
	if len(bases) < 2 {
		return false
	}
	return r.Keep > 0 && len(bases) > r.Keep ||
		r.MaxAge > 0 && now.Sub(bases[1].Created) > r.MaxAge ||
		r.MaxSize > 0 && bytes > r.MaxSize
}
