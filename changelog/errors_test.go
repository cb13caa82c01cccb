package changelog

import (
	"errors"
	"strings"
	"testing"
)

// refused has lines that mfsmaster never writes; most of them its reader
// would take.
var refused = []struct {
	name, line string
	column     int
	reason     string
}{
	{"empty", "", 1, "number expected"},
	{"no version", ": 1|IDLE()", 1, "number expected"},
	{"version with leading zero", "01: 1|IDLE()", 1, "number with leading zero"},
	{"version of 65 bits", "18446744073709551616: 1|IDLE()", 1, "number too big"},
	{"version of 21 digits", "100000000000000000000: 1|IDLE()", 1, "number too big"},
	{"blank before the version", " 1: 1|IDLE()", 1, "number expected"},
	{"no colon", "1 1|IDLE()", 2, "':' expected"},
	{"no blank", "1:1|IDLE()", 3, "blank expected"},
	{"two blanks", "1:  1|IDLE()", 4, "number expected"},
	{"no time", "1: |IDLE()", 4, "number expected"},
	{"time of 33 bits", "1: 4294967296|IDLE()", 4, "number too big"},
	{"sign", "1: +1|IDLE()", 4, "number expected"},
	{"no bar", "1: 1IDLE()", 5, "'|' expected"},
	{"no operation", "1: 1|", 6, "unknown operation"},
	{"unknown operation", "1: 1|CREATF(1)", 6, "unknown operation"},
	{"prefix of an operation", "1: 1|IDL()", 6, "unknown operation"},
	{"longer than an operation", "1: 1|IDLES()", 6, "unknown operation"},
	{"longer than any operation", "1: 1|SESDISCONNECTEDLY(1)", 6, "unknown operation"},
	{"lowercase operation", "1: 1|idle()", 6, "unknown operation"},
	{"blank before the parenthesis", "1: 1|IDLE ()", 6, "unknown operation"},
	{"no parenthesis", "1: 1|IDLE", 10, "'(' expected"},
	{"text behind", "1: 1|IDLE() ", 12, "text after the end of the entry"},
	{"carriage return", "1: 1|IDLE()\r\n", 12, "text after the end of the entry"},
	{"NUL behind", "1: 1|UNLINK(1,a):7\x00", 19, "text after the end of the entry"},
	{"second newline", "1: 1|IDLE()\n\n", 12, "text after the end of the entry"},
	{"number of 33 bits", "1: 1|ACCESS(4294967296)", 13, "number too big"},
	{"number of 65 bits", "1: 1|UNLOCK(18446744073709551616)", 13, "number too big"},
	{"number of 16 bits", "1: 1|CSADD(1,65536)", 14, "number too big"},
	{"number of 8 bits", "1: 1|LENGTH(1,2,256)", 17, "number too big"},
	{"negative number", "1: 1|ACCESS(-1)", 13, "number expected"},
	{"blank in front of a number", "1: 1|LINK(1, 2,a)", 13, "number expected"},
	{"blank behind a number", "1: 1|LINK(1 ,2,a)", 12, "',' expected"},
	{"leading zero", "1: 1|LINK(1,02,a)", 13, "number with leading zero"},
	{"two zeros", "1: 1|LINK(1,00,a)", 13, "number with leading zero"},
	{"argument missing", "1: 1|LINK(1,2)", 14, "',' expected"},
	{"argument too many", "1: 1|LINK(1,2,a,b)", 16, "')' expected"},
	{"result missing", "1: 1|UNLINK(1,a)", 17, "':' expected"},
	{"result empty", "1: 1|UNLINK(1,a):", 18, "number expected"},
	{"result too many", "1: 1|UNLINK(1,a):2,3", 19, "text after the end of the entry"},
	{"name empty", "1: 1|UNLINK(1,):2", 15, "empty name"},
	{"name of 256 bytes", "1: 1|UNLINK(1," + strings.Repeat("a", 256) + "):2", 15, "name longer than 255 bytes"},
	{"name of 256 escapes", "1: 1|UNLINK(1," + strings.Repeat("%01", 256) + "):2", 15, "name longer than 255 bytes"},
	{"name with newline", "1: 1|UNLINK(1,a\nb):2", 16, "')' expected"},
	{"name with byte above 126", "1: 1|UNLINK(1,a\xc3):2", 16, "')' expected"},
	{"name with comma", "1: 1|UNLINK(1,a,b):2", 16, "')' expected"},
	{"name with NUL", "1: 1|UNLINK(1,a\x00):2", 16, "')' expected"},
	{"name with escaped NUL", "1: 1|UNLINK(1,a%00):2", 16, "NUL in a name"},
	{"path with escaped NUL", "1: 1|SETPATH(1,a%00)", 17, "NUL in a name"},
	{"path empty", "1: 1|SETPATH(1,)", 16, "empty name"},
	{"lowercase escape", "1: 1|UNLINK(1,a%2c):2", 16, "'%' without two uppercase hexadecimal digits"},
	{"half an escape", "1: 1|UNLINK(1,a%2):2", 16, "'%' without two uppercase hexadecimal digits"},
	{"escape at the end", "1: 1|UNLINK(1,a%2", 16, "'%' without two uppercase hexadecimal digits"},
	{"needless escape", "1: 1|UNLINK(1,a%41):2", 16, "escaped byte that needs no escape"},
	{"node type 16", "1: 1|CREATE(1,a,16,2,3,4,5,6):7", 17, "number too big"},
	{"node letter", "1: 1|CREATE(1,a,x,2,3,4,5):7", 17, "type of node expected"},
	{"umask with letter", "1: 1|CREATE(1,a,f,2,3,4,5,6):7", 26, "')' expected"},
	{"lock letter", "1: 1|FLOCK(1,2,3,r)", 18, "'U', 'R' or 'W' expected"},
	{"winattr of 16 bits", "1: 1|ATTR(1,2,3,4,5,6,256,7)", 23, "number too big"},
	{"ACL shorter than said", "1: 1|SETACL(1,2,3,4,5,6,7,8,1,0,abcde)", 33, "length of the named entries differs from their number"},
	{"ACL longer than said", "1: 1|SETACL(1,2,3,4,5,6,7,8,0,0,abcdef)", 33, "length of the named entries differs from their number"},
	{"ten labels", "1: 1|SCSET(c,1,W10,K0,A0,1,0,0,-):1", 17, "number too big"},
	{"labels without masks", "1: 1|SCSET(c,1,W1,K0,A0,1,0,0,-):1", 31, "number expected"},
	{"masks without labels", "1: 1|SCSET(c,1,W0,K0,A0,1,0,0,1):1", 31, "'-' expected"},
	{"no class letter", "1: 1|SCSET(c,1,W0,0,A0,1,0,0,-):1", 19, "'K' expected"},
	{"umask not octal", "1: 1|SESADD(#1,2,3,0008,4,5,6,7,8,9,10,11,0x00000000,12,/):1", 20, "number with leading zero"},
	{"disables lowercase", "1: 1|SESADD(#1,2,3,0000,4,5,6,7,8,9,10,11,0x0000000a,12,/):1", 43, notDisables},
	{"disables short", "1: 1|SESADD(#1,2,3,0000,4,5,6,7,8,9,10,11,0x0,12,/):1", 43, notDisables},
	{"disables at the end", "1: 1|SESADD(#1,2,3,0000,4,5,6,7,8,9,10,11,0x0", 43, notDisables},
	{"groups empty", "1: 1|SNAPSHOT(1,2,s,3,4,5,[],7)", 28, "number expected"},
	{"groups without end", "1: 1|SNAPSHOT(1,2,s,3,4,5,[6,7)", 31, "']' expected"},
	{"groups fewer than said", "1: 1|SNAPSHOT(1,2,s,3,4,5,2,abcd,7)", 27, "number of groups differs from the list"},
	{"no groups in old list", "1: 1|SNAPSHOT(1,2,s,3,4,5,0,,7)", 27, "number of groups differs from the list"},
	{"results with old groups", "1: 1|SNAPSHOT(1,2,s,3,4,5,6,7):1,2,3,4,5,6", 31, "text after the end of the entry"},
	{"snapshot of 1.6", "1: 1|SNAPSHOT(1,2,s,0)", 22, "',' expected"},
	{"name of 2.0 unknown to 3.0.117", "1: 1|RENUMEDGES():1", 6, "unknown operation"},
	{"groups of three digits", "1: 1|SESADD(#1,2,3,0000,4,5,6,7,0x0FF,10,11,0x00000000,12,/):1", 33, notGroups},
	{"groups lowercase", "1: 1|SESADD(#1,2,3,0000,4,5,6,7,0x0fff,10,11,0x00000000,12,/):1", 33, notGroups},
	{"expression of half a byte", "1: 1|SCSET(c,0,C(0:0),K(1:0),A(0:0:0),T(0:0:0),1,(1:24),0,0,C):8", 61, notExpr},
	{"expression in lowercase", "1: 1|SCSET(c,0,C(0:0),K(1:0),A(0:0:0),T(0:0:0),1,(1:24),0,0,c0):8", 61, "')' expected"},
	{"expression with zero", "1: 1|SCSET(c,0,C(0:0),K(1:0),A(0:0:0),T(0:0:0),1,(1:24),0,0,C000):8", 61, "zero byte in a label expression"},
	{"expression too long", "1: 1|SCSET(c,0,C(0:0),K(1:0),A(0:0:0),T(0:0:0),1,(1:24),0,0," + strings.Repeat("C0", 129) + "):8", 61, notExpr},
	{"expressions missing", "1: 1|SCSET(c,0,C(0:0),K(1:0),A(0:0:0),T(0:0:0),1,(1:24),0,0,-):8", 61, "')' expected"},
	{"expressions without labels", "1: 1|SCSET(c,0,C(0:0),K(0:0),A(0:0:0),T(0:0:0),1,(1:24),0,0,C0):8", 61, "'-' expected"},
	{"no erasure code", "1: 1|SCSET(c,0,C(0:0),K(1:0),A(0:0),T(0:0:0),1,(1:24),0,0,C0):8", 35, "':' expected"},
	{"unknown form of a class", "1: 1|SCSET(c,0,2,d,0,0,C(0:0),K(1:0),A(0:0),T(0:0:0),1,(1:24),0,0,C0):8", 16, "'C' expected"},
	{"path recovered without end", "1: 1|TRASH_RECOVER(1,2,a,3,4,5,6):(b", 37, "')' expected"},
	{"path recovered without parenthesis", "1: 1|TRASH_RECOVER(1,2,a,3,4,5,6):b", 35, "'(' expected"},
	{"too long", "1: 1|SETPATH(1," + strings.Repeat("a", maxText) + ")", 4 + maxText, "longer than mfsmaster writes"},
}

func TestRefused(t *testing.T) {
	for _, tc := range refused {
		t.Run(tc.name, func(t *testing.T) {
			_, err := NewBatch().ParseLine([]byte(tc.line))
			var syntax *SyntaxError
			if !errors.As(err, &syntax) {
				t.Fatalf("%q: got error %v, want a *SyntaxError", tc.line, err)
			}
			if syntax.Column != tc.column || syntax.Reason != tc.reason {
				t.Fatalf("%q: got column %d, %q; want column %d, %q", tc.line, syntax.Column, syntax.Reason, tc.column, tc.reason)
			}
		})
	}
}

func TestParseCountsColumnsFromTheTime(t *testing.T) {
	_, _, err := NewBatch().Parse([]byte("1|ACCESS(x)"))
	const want = `column 10: number expected: "1|ACCESS(x)"`
	if err == nil || err.Error() != want {
		t.Fatalf("got error %v, want %s", err, want)
	}
}

func TestSyntaxErrorShortensText(t *testing.T) {
	_, _, err := NewBatch().Parse([]byte("1|UNLINK(1," + strings.Repeat("a", 200) + "%zz" + strings.Repeat("b", 200) + "):1"))
	var syntax *SyntaxError
	if !errors.As(err, &syntax) {
		t.Fatalf("got error %v", err)
	}
	if want := strings.Repeat("a", 40) + "%zz" + strings.Repeat("b", 37); syntax.Text != want {
		t.Fatalf("got text %q, want %q", syntax.Text, want)
	}
}

// The longest entry is accepted: it is what mfsmaster can write whole.
func TestLongestEntry(t *testing.T) {
	const head, tail = "1|SETPATH(1,", ")"
	text := head + strings.Repeat("a", maxText-len(head)-len(tail)) + tail
	if _, _, err := NewBatch().Parse([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

// A refused entry leaves nothing behind that the next one could see.
func TestParseAfterError(t *testing.T) {
	batch := NewBatch()
	for _, tc := range refused {
		if _, err := batch.ParseLine([]byte(tc.line)); err == nil {
			t.Fatalf("%q was accepted", tc.line)
		}
		for _, good := range spellings {
			text := "1|" + good.text
			now, op, err := batch.Parse([]byte(text))
			if err != nil {
				t.Fatalf("%q after %q: %v", text, tc.line, err)
			}
			if out := string(Append(nil, now, op)); out != text {
				t.Fatalf("%q after %q became %q", text, tc.line, out)
			}
		}
		batch.Reset()
	}
}
