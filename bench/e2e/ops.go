package e2e

// operation is one thing that a worker can do.
type operation struct {
	name    string
	weight  int
	data    bool // needs chunkservers
	root    bool // always as root
	modern  bool // only 4.x has it
	timed   bool // what comes of it depends on the time
	alone   bool // an exact workload does it without chunkservers, too
	misread misread
	run     func(*worker) error
}

// misread tells when the replay of 3.0.117 makes of an operation's entries
// something else than the master did, or stops.
type misread uint8

const (
	never  misread = iota
	groups         // when a user with groups other than 0 does it
	always         // or often enough
)

// operations of a workload. The weights keep the programs (a process each) near
// one in fifty.
var operations = []operation{
	// names
	{name: "create", weight: 2200, run: (*worker).create},
	{name: "mkdir", weight: 400, run: (*worker).mkdir},
	{name: "unlink", weight: 1500, run: (*worker).unlink},
	{name: "rmdir", weight: 300, run: (*worker).rmdir},
	{name: "rename", weight: 700, run: (*worker).rename},
	{name: "rename a directory", weight: 100, run: (*worker).renameDir},
	{name: "link", weight: 400, run: (*worker).link},
	{name: "symlink", weight: 250, run: (*worker).symlink},
	{name: "readlink", weight: 60, run: (*worker).readlink},
	{name: "mknod", weight: 150, run: (*worker).mknod},
	{name: "readdir", weight: 200, run: (*worker).readdir},
	{name: "churn", weight: 40, run: (*worker).churn},
	// content
	{name: "write", weight: 900, data: true, run: (*worker).write},
	{name: "append", weight: 300, data: true, run: (*worker).append},
	{name: "read", weight: 300, data: true, run: (*worker).read},
	{name: "truncate", weight: 400, data: true, alone: true, run: (*worker).truncate},
	{name: "write far", weight: 30, data: true, run: (*worker).writeFar},
	{name: "open and unlink", weight: 250, run: (*worker).openUnlink},
	{name: "hold open", weight: 200, run: (*worker).holdOpen},
	{name: "close", weight: 400, run: (*worker).closeOne},
	// attributes
	{name: "chmod", weight: 400, run: (*worker).chmod},
	{name: "chown", weight: 300, run: (*worker).chown},
	{name: "utimes", weight: 300, run: (*worker).utimes},
	{name: "setxattr", weight: 350, run: (*worker).setxattr},
	{name: "removexattr", weight: 150, run: (*worker).removexattr},
	{name: "set ACL", weight: 300, run: (*worker).setACL},
	{name: "remove ACL", weight: 80, run: (*worker).removeACL},
	{name: "sgid directory", weight: 60, run: (*worker).sgidDir},
	// locks
	{name: "flock", weight: 200, misread: always, run: (*worker).flock},
	{name: "range lock", weight: 250, misread: always, run: (*worker).rangeLock},
	{name: "lock by a process", weight: 6, misread: always, timed: true, run: (*worker).lockProcess},
	// trash
	{name: "undelete", weight: 50, root: true, run: (*worker).undelete},
	{name: "purge", weight: 40, root: true, run: (*worker).purge},
	{name: "set trash path", weight: 40, root: true, run: (*worker).setTrashPath},
	// MooseFS tools
	{name: "mfssettrashtime", weight: 30, run: (*worker).toolTrashTime},
	{name: "mfssetsclass", weight: 25, run: (*worker).toolClass},
	{name: "mfsseteattr", weight: 25, run: (*worker).toolSetEattr},
	{name: "mfsdeleattr", weight: 25, run: (*worker).toolDelEattr},
	{name: "mfssetquota", weight: 12, root: true, run: (*worker).toolQuota},
	{name: "mfsdelquota", weight: 12, root: true, run: (*worker).toolDelQuota},
	{name: "mfsmakesnapshot", weight: 60, misread: groups, run: (*worker).toolSnapshot},
	{name: "mfsrmsnapshot", weight: 15, run: (*worker).toolRemoveSnapshot},
	{name: "mfsappendchunks", weight: 50, data: true, root: true, run: (*worker).toolAppend},
	{name: "mfssetarchive", weight: 10, data: true, run: (*worker).toolArchive},
	{name: "mfsfilerepair", weight: 12, data: true, root: true, misread: always, run: (*worker).toolRepair},
	{name: "mfsscadmin", weight: 20, root: true, run: (*worker).toolClassAdmin},
	// what came with 4.x
	{name: "exchange", weight: 150, modern: true, run: (*worker).exchange},
	{name: "rename to a new name", weight: 150, modern: true, run: (*worker).renameNew},
	{name: "mfspatadmin", weight: 20, root: true, modern: true, run: (*worker).toolPattern},
	{name: "recover from trash", weight: 60, modern: true, run: (*worker).recoverTrash},
	{name: "remove from trash", weight: 20, modern: true, run: (*worker).removeTrash},
	// the cluster itself
	{name: "short session", weight: 3, root: true, misread: always, timed: true, run: (*worker).shortSession},
	{name: "maintenance", weight: 3, root: true, timed: true, run: (*worker).maintenance},
}
