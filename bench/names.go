package bench

import "fmt"

var nameForms = []string{
	"IMG_%04d.JPG", "report-%d.pdf", "main%d.go", "part-%05d.parquet", "msg.%d.eml",
	".config-%d.swp", "Track %02d.flac", "access.log.%d", "%08x.o", "libfoo.so.1.%d",
	"data_%d.csv", "Angebot (%d).docx", "50%%-off-%d.txt", "übersicht-%d.html", "a,b,%d", "tmp%07d",
}

var dirForms = []string{"project-%d", "%04d", "user%d", ".cache%d", "2024-%02d", "src%d", "Kunde %d"}

// name makes a name that the directory never had.
func (g *generator) name(dir *node, forms []string) string {
	dir.names++
	// The number makes it unique among the names of one form; forms never collide.
	return fmt.Sprintf(forms[g.rng.IntN(len(forms))], dir.names)
}
