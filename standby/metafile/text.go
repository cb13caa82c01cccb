package metafile

import "fmt"

// ipText writes an address with leading zeros, as mfsmetadump does.
func ipText(ip uint32) string {
	return fmt.Sprintf("%03d.%03d.%03d.%03d", ip>>24, ip>>16&0xFF, ip>>8&0xFF, ip&0xFF)
}
