package changelog

import (
	"fmt"

	"mfsstandby/changelog/meta"
)

// SetRelease notes which release the primary has from the next entry on, if r
// is not 0: the same entry can have another effect in another release. The
// error says that a State of one cannot become one of the other here; what the
// new release makes of the metadata is then to be had from its metadata file.
func SetRelease(st *meta.State, r meta.Release) error {
	if r == 0 || r == st.Release {
		return nil
	}
	if now := st.Release; now.Since(meta.Release4) != r.Since(meta.Release4) {
		return fmt.Errorf("the primary has become MooseFS %s, the image is one of %s: load the metadata that the new primary stores", r, now)
	}
	st.Release = r
	return nil
}
