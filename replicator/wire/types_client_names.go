package wire

// clientTypeNames holds the names in MooseFS of the client port's requests.
// Their answers are called MATOCL or ANTOCL instead of CLTOMA or CLTOAN.
var clientTypeNames = map[Type]string{
	ClassCreate: "CLTOMA_SCLASS_CREATE", ClassChange: "CLTOMA_SCLASS_CHANGE", ClassDelete: "CLTOMA_SCLASS_DELETE",
	ClassDuplicate: "CLTOMA_SCLASS_DUPLICATE", ClassRename: "CLTOMA_SCLASS_RENAME", ClassList: "CLTOMA_SCLASS_LIST",
	PatternAdd: "CLTOMA_PATTERN_ADD", PatternDelete: "CLTOMA_PATTERN_DELETE", PatternList: "CLTOMA_PATTERN_LIST",
	TrashList: "CLTOMA_TRASH_LIST", TrashRecover: "CLTOMA_TRASH_RECOVER", TrashRemove: "CLTOMA_TRASH_REMOVE",
	SustainedList: "CLTOMA_SUSTAINED_LIST", PathLookup: "CLTOMA_PATH_LOOKUP",

	FuseRegister: "CLTOMA_FUSE_REGISTER", FuseStatfs: "CLTOMA_FUSE_STATFS", FuseAccess: "CLTOMA_FUSE_ACCESS",
	FuseLookup: "CLTOMA_FUSE_LOOKUP", FuseGetattr: "CLTOMA_FUSE_GETATTR", FuseSetattr: "CLTOMA_FUSE_SETATTR",
	FuseReadlink: "CLTOMA_FUSE_READLINK", FuseSymlink: "CLTOMA_FUSE_SYMLINK", FuseMknod: "CLTOMA_FUSE_MKNOD",
	FuseMkdir: "CLTOMA_FUSE_MKDIR", FuseUnlink: "CLTOMA_FUSE_UNLINK", FuseRmdir: "CLTOMA_FUSE_RMDIR",
	FuseRename: "CLTOMA_FUSE_RENAME", FuseLink: "CLTOMA_FUSE_LINK", FuseReaddir: "CLTOMA_FUSE_READDIR",
	FuseOpen: "CLTOMA_FUSE_OPEN", FuseReadChunk: "CLTOMA_FUSE_READ_CHUNK", FuseWriteChunk: "CLTOMA_FUSE_WRITE_CHUNK",
	FuseWriteChunkEnd: "CLTOMA_FUSE_WRITE_CHUNK_END", FuseAppendSlice: "CLTOMA_FUSE_APPEND_SLICE", FuseCheck: "CLTOMA_FUSE_CHECK",
	FuseGetTrashTime: "CLTOMA_FUSE_GETTRASHTIME", FuseSetTrashTime: "CLTOMA_FUSE_SETTRASHTIME",
	FuseGetClass: "CLTOMA_FUSE_GETSCLASS", FuseSetClass: "CLTOMA_FUSE_SETSCLASS", FuseGetTrash: "CLTOMA_FUSE_GETTRASH",
	FuseGetDetachedAttr: "CLTOMA_FUSE_GETDETACHEDATTR", FuseGetTrashPath: "CLTOMA_FUSE_GETTRASHPATH",
	FuseSetTrashPath: "CLTOMA_FUSE_SETTRASHPATH", FuseUndel: "CLTOMA_FUSE_UNDEL", FusePurge: "CLTOMA_FUSE_PURGE",
	FuseGetDirStats: "CLTOMA_FUSE_GETDIRSTATS", FuseTruncate: "CLTOMA_FUSE_TRUNCATE", FuseRepair: "CLTOMA_FUSE_REPAIR",
	FuseSnapshot: "CLTOMA_FUSE_SNAPSHOT", FuseGetSustained: "CLTOMA_FUSE_GETSUSTAINED", FuseGetEattr: "CLTOMA_FUSE_GETEATTR",
	FuseSetEattr: "CLTOMA_FUSE_SETEATTR", FuseQuotaControl: "CLTOMA_FUSE_QUOTACONTROL", FuseGetXattr: "CLTOMA_FUSE_GETXATTR",
	FuseSetXattr: "CLTOMA_FUSE_SETXATTR", FuseCreate: "CLTOMA_FUSE_CREATE", FuseParents: "CLTOMA_FUSE_PARENTS",
	FusePaths: "CLTOMA_FUSE_PATHS", FuseGetACL: "CLTOMA_FUSE_GETFACL", FuseSetACL: "CLTOMA_FUSE_SETFACL",
	FuseFlock: "CLTOMA_FUSE_FLOCK", FusePosixLock: "CLTOMA_FUSE_POSIX_LOCK", FuseArchCtl: "CLTOMA_FUSE_ARCHCTL",
	FuseFsync: "CLTOMA_FUSE_FSYNC", FuseSustainedInodes0: "CLTOMA_FUSE_SUSTAINED_INODES_DEPRECATED",
	FuseSustainedInodes: "CLTOMA_FUSE_SUSTAINED_INODES", FuseAmtimeInodes: "CLTOMA_FUSE_AMTIME_INODES",
	FuseChunkChanged: "MATOCL_FUSE_CHUNK_HAS_CHANGED", FuseLengthChanged: "MATOCL_FUSE_FLENG_HAS_CHANGED",
	FuseTimeSync: "CLTOMA_FUSE_TIME_SYNC", FuseForgetChunks: "MATOCL_FUSE_INVALIDATE_CHUNK_CACHE",

	InfoServers: "CLTOMA_CSERV_LIST", InfoMonotonic: "CLTOAN_MONOTONIC_DATA", InfoChart: "CLTOAN_CHART",
	InfoChartData: "CLTOAN_CHART_DATA", InfoSessions: "CLTOMA_SESSION_LIST", InfoMaster: "CLTOMA_INFO",
	InfoTreeTest: "CLTOMA_FSTEST_INFO", InfoChunkTest: "CLTOMA_CHUNKSTEST_INFO", InfoMatrix: "CLTOMA_CHUNKS_MATRIX",
	InfoQuotas: "CLTOMA_QUOTA_INFO", InfoExports: "CLTOMA_EXPORTS_INFO", InfoMetaloggers: "CLTOMA_MLOG_LIST",
	ServerCommand: "CLTOMA_CSSERV_COMMAND", SessionCommand: "CLTOMA_SESSION_COMMAND", InfoMemory: "CLTOMA_MEMORY_INFO",
	InfoModule: "CLTOAN_MODULE_INFO", InfoOpenFiles: "CLTOMA_LIST_OPEN_FILES", InfoLocks: "CLTOMA_LIST_ACQUIRED_LOCKS",
	InfoPaths: "CLTOMA_MASS_RESOLVE_PATHS", InfoClasses: "CLTOMA_SCLASS_INFO", InfoMissing: "CLTOMA_MISSING_CHUNKS",
	InfoNode: "CLTOMA_NODE_INFO", InfoPatterns: "CLTOMA_PATTERN_INFO", InfoInstance: "CLTOMA_INSTANCE_NAME",
	FullDirectory: "CLTOMA_FULL_DIRECTORY_DATA", SetAllOfNode: "CLTOMA_SET_ALL_NODE_ATTRIBUTES",
	FuseOpData: "CLTOMA_FUSE_OPDATA", FuseWorkFlags: "CLTOMA_FUSE_WFLAGS",
}

// clientTypeName returns the name of a request of the client port, or of the
// answer to one; "" if it is neither.
func clientTypeName(t Type) string {
	if name := clientTypeNames[t]; name != "" {
		return name
	}
	if name := clientTypeNames[t-1]; name != "" {
		const prefix = len("CLTO") // CLTOMA_X is answered by MATOCL_X, CLTOAN_X by ANTOCL_X
		return name[prefix:prefix+2] + "TOCL" + name[prefix+2:]
	}
	return ""
}
