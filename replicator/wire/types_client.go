package wire

// Packets of the client port (TCP 9421). An answer has the number of its
// request plus one; only those that come unasked have names of their own.
const (
	ClassCreate    Type = 350 // CLTOMA_SCLASS_CREATE
	ClassChange    Type = 352 // CLTOMA_SCLASS_CHANGE
	ClassDelete    Type = 354 // CLTOMA_SCLASS_DELETE
	ClassDuplicate Type = 356 // CLTOMA_SCLASS_DUPLICATE
	ClassRename    Type = 358 // CLTOMA_SCLASS_RENAME
	ClassList      Type = 360 // CLTOMA_SCLASS_LIST

	// Since 4.x.
	PatternAdd    Type = 370
	PatternDelete Type = 372
	PatternList   Type = 374
	TrashList     Type = 380
	TrashRecover  Type = 382
	TrashRemove   Type = 384
	SustainedList Type = 388
	PathLookup    Type = 390

	FuseRegister         Type = 400
	FuseStatfs           Type = 402
	FuseAccess           Type = 404
	FuseLookup           Type = 406
	FuseGetattr          Type = 408
	FuseSetattr          Type = 410
	FuseReadlink         Type = 412
	FuseSymlink          Type = 414
	FuseMknod            Type = 416
	FuseMkdir            Type = 418
	FuseUnlink           Type = 420
	FuseRmdir            Type = 422
	FuseRename           Type = 424
	FuseLink             Type = 426
	FuseReaddir          Type = 428
	FuseOpen             Type = 430
	FuseReadChunk        Type = 432
	FuseWriteChunk       Type = 434
	FuseWriteChunkEnd    Type = 436
	FuseAppendSlice      Type = 438
	FuseCheck            Type = 440
	FuseGetTrashTime     Type = 442
	FuseSetTrashTime     Type = 444
	FuseGetClass         Type = 446 // CLTOMA_FUSE_GETSCLASS
	FuseSetClass         Type = 448 // CLTOMA_FUSE_SETSCLASS
	FuseGetTrash         Type = 450
	FuseGetDetachedAttr  Type = 452
	FuseGetTrashPath     Type = 454
	FuseSetTrashPath     Type = 456
	FuseUndel            Type = 458
	FusePurge            Type = 460
	FuseGetDirStats      Type = 462
	FuseTruncate         Type = 464
	FuseRepair           Type = 466
	FuseSnapshot         Type = 468
	FuseGetSustained     Type = 470
	FuseGetEattr         Type = 472
	FuseSetEattr         Type = 474
	FuseQuotaControl     Type = 476
	FuseGetXattr         Type = 478
	FuseSetXattr         Type = 480
	FuseCreate           Type = 482
	FuseParents          Type = 484
	FusePaths            Type = 486
	FuseGetACL           Type = 488 // CLTOMA_FUSE_GETFACL
	FuseSetACL           Type = 490 // CLTOMA_FUSE_SETFACL
	FuseFlock            Type = 492
	FusePosixLock        Type = 494
	FuseArchCtl          Type = 496
	FuseFsync            Type = 498 // nobody sends it and 3.0.117 closes the connection
	FuseSustainedInodes0 Type = 499 // CLTOMA_FUSE_SUSTAINED_INODES_DEPRECATED, to masters before 3.0.74
	FuseSustainedInodes  Type = 700
	FuseAmtimeInodes     Type = 701
	FuseChunkChanged     Type = 702 // MATOCL_FUSE_CHUNK_HAS_CHANGED, unasked
	FuseLengthChanged    Type = 703 // MATOCL_FUSE_FLENG_HAS_CHANGED, unasked
	FuseTimeSync         Type = 704
	FuseForgetChunks     Type = 706 // MATOCL_FUSE_INVALIDATE_CHUNK_CACHE, unasked
	FuseOpData           Type = 710 // what a mount did, without an answer; since 4.x
	FuseWorkFlags        Type = 711 // CLTOMA_FUSE_WFLAGS, without an answer; since 4.x

	InfoServers     Type = 500        // CLTOMA_CSERV_LIST
	InfoMonotonic   Type = 502        // CLTOAN_MONOTONIC_DATA
	InfoChart       Type = 504        // CLTOAN_CHART
	InfoChartData   Type = 506        // CLTOAN_CHART_DATA
	InfoSessions    Type = 508        // CLTOMA_SESSION_LIST
	InfoMaster      Type = 510        // CLTOMA_INFO
	InfoTreeTest    Type = 512        // CLTOMA_FSTEST_INFO
	InfoChunkTest   Type = 514        // CLTOMA_CHUNKSTEST_INFO
	InfoMatrix      Type = 516        // CLTOMA_CHUNKS_MATRIX
	InfoQuotas      Type = 518        // CLTOMA_QUOTA_INFO
	InfoExports     Type = 520        // CLTOMA_EXPORTS_INFO
	InfoMetaloggers Type = 522        // CLTOMA_MLOG_LIST
	ServerCommand   Type = 524        // CLTOMA_CSSERV_COMMAND
	SessionCommand  Type = 526        // CLTOMA_SESSION_COMMAND
	InfoMemory      Type = 528        // CLTOMA_MEMORY_INFO
	InfoModule      Type = 530        // CLTOAN_MODULE_INFO
	InfoOpenFiles   Type = 532        // CLTOMA_LIST_OPEN_FILES
	InfoLocks       Type = 534        // CLTOMA_LIST_ACQUIRED_LOCKS
	InfoPaths       Type = 536        // CLTOMA_MASS_RESOLVE_PATHS
	InfoClasses     Type = 542        // CLTOMA_SCLASS_INFO
	InfoMissing     Type = 544        // CLTOMA_MISSING_CHUNKS
	InfoNode        Type = 546        // CLTOMA_NODE_INFO
	InfoPatterns    Type = 548        // CLTOMA_PATTERN_INFO, since 4.x as those below
	InfoInstance    Type = 550        // CLTOMA_INSTANCE_NAME
	FullDirectory   Type = 552        // CLTOMA_FULL_DIRECTORY_DATA
	SetAllOfNode    Type = 554        // CLTOMA_SET_ALL_NODE_ATTRIBUTES
	ClientMaxLength      = 50_000_000 // bytes of payload, both directions (CLTOMA_MAXPACKETSIZE, MATOCL_MAXPACKETSIZE)
)

// Reply returns the type of the answer to a request of the client port.
func (t Type) Reply() Type { return t + 1 }

// Releases at which forms of the client port's packets changed.
const (
	rel1_6_1   Release = 1<<16 | 6<<8 | 1
	rel1_6_9   Release = 1<<16 | 6<<8 | 9
	rel1_6_21  Release = 1<<16 | 6<<8 | 21
	rel1_6_22  Release = 1<<16 | 6<<8 | 22
	rel1_6_23  Release = 1<<16 | 6<<8 | 23
	rel1_6_26  Release = 1<<16 | 6<<8 | 26
	rel1_7_29  Release = 1<<16 | 7<<8 | 29
	rel1_7_32  Release = 1<<16 | 7<<8 | 32
	rel2_0     Release = 2 << 16
	rel3_0_9   Release = 3<<16 | 0<<8 | 2*9
	rel3_0_10  Release = 3<<16 | 0<<8 | 2*10
	rel3_0_11  Release = 3<<16 | 0<<8 | 2*11
	rel3_0_30  Release = 3<<16 | 0<<8 | 2*30
	rel3_0_40  Release = 3<<16 | 0<<8 | 2*40
	rel3_0_72  Release = 3<<16 | 0<<8 | 2*72
	rel3_0_75  Release = 3<<16 | 0<<8 | 2*75
	rel3_0_93  Release = 3<<16 | 0<<8 | 2*93
	rel3_0_95  Release = 3<<16 | 0<<8 | 2*95
	rel3_0_102 Release = 3<<16 | 0<<8 | 2*102
	rel3_0_107 Release = 3<<16 | 0<<8 | 2*107
	rel3_0_112 Release = 3<<16 | 0<<8 | 2*112
	rel3_0_113 Release = 3<<16 | 0<<8 | 2*113
	rel4_0     Release = 4 << 16
	rel4_0_2   Release = 4<<16 | 0<<8 | 2*2
	rel4_0_7   Release = 4<<16 | 0<<8 | 2*7
	rel4_9     Release = 4<<16 | 9<<8
	rel4_18    Release = 4<<16 | 18<<8
	rel4_21    Release = 4<<16 | 21<<8
	rel4_22    Release = 4<<16 | 22<<8
	rel4_26    Release = 4<<16 | 26<<8
	rel4_40    Release = 4<<16 | 40<<8
	rel4_51    Release = 4<<16 | 51<<8
	rel4_57    Release = 4<<16 | 57<<8
)

// both tells whether a release has what came into 3.x and, for 4.x was already
// there, into 4.x at another release.
func both(r, in3, in4 Release) bool { return r >= in4 || r >= in3 && r < rel4_0 }
