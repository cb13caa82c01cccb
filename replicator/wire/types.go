package wire

import "fmt"

// Packets that every port knows.
const (
	Nop            Type = 0 // ANTOAN_NOP: keepalive; empty on the metalogger port, msgid:32 on the client port
	UnknownCommand Type = 1 // ANTOAN_UNKNOWN_COMMAND: for future use, ignored
	BadCommandSize Type = 2 // ANTOAN_BAD_COMMAND_SIZE: for future use, ignored
	ForceTimeout   Type = 5 // ANTOAN_FORCE_TIMEOUT, since 4.12
	GetVersion     Type = 10
	VersionReply   Type = 11 // ANTOAN_VERSION, since 2.0
	GetConfig      Type = 80 // ANTOAN_GET_CONFIG, since 3.0
	ConfigValue    Type = 81 // ANTOAN_CONFIG_VALUE, since 3.0
	GetConfigFile  Type = 82 // ANTOAN_GET_CONFIG_FILE, since 4.x; the answer has the next number
)

// Packets of the metalogger port (TCP 9419).
const (
	MetaloggerRegister  Type = 50        // ANTOMA_REGISTER
	MetachangesLog      Type = 51        // MATOAN_METACHANGES_LOG
	MasterAck           Type = 52        // MATOAN_MASTER_ACK, since 4.0 and only to metaloggers of 4.0 or later
	DownloadStart       Type = 60        // ANTOMA_DOWNLOAD_START
	DownloadInfo        Type = 61        // MATOAN_DOWNLOAD_INFO
	DownloadRequest     Type = 62        // ANTOMA_DOWNLOAD_REQUEST
	DownloadData        Type = 63        // MATOAN_DOWNLOAD_DATA
	DownloadEnd         Type = 64        // ANTOMA_DOWNLOAD_END
	MetaloggerMaxLength      = 1_500_000 // bytes of payload, both directions (ANTOMA_MAXPACKETSIZE)
	DownloadBlock            = 1_000_000 // bytes a stock metalogger asks for at once; 4.x refuses more
)

// typeNames holds the packets' names in MooseFS, for error messages.
var typeNames = map[Type]string{
	Nop:                "ANTOAN_NOP",
	UnknownCommand:     "ANTOAN_UNKNOWN_COMMAND",
	BadCommandSize:     "ANTOAN_BAD_COMMAND_SIZE",
	ForceTimeout:       "ANTOAN_FORCE_TIMEOUT",
	GetVersion:         "ANTOAN_GET_VERSION",
	VersionReply:       "ANTOAN_VERSION",
	GetConfig:          "ANTOAN_GET_CONFIG",
	ConfigValue:        "ANTOAN_CONFIG_VALUE",
	GetConfigFile:      "ANTOAN_GET_CONFIG_FILE",
	MetaloggerRegister: "ANTOMA_REGISTER",
	MetachangesLog:     "MATOAN_METACHANGES_LOG",
	MasterAck:          "MATOAN_MASTER_ACK",
	DownloadStart:      "ANTOMA_DOWNLOAD_START",
	DownloadInfo:       "MATOAN_DOWNLOAD_INFO",
	DownloadRequest:    "ANTOMA_DOWNLOAD_REQUEST",
	DownloadData:       "MATOAN_DOWNLOAD_DATA",
	DownloadEnd:        "ANTOMA_DOWNLOAD_END",
}

// String returns MooseFS's name of the packet and its number.
func (t Type) String() string {
	name := typeNames[t]
	if name == "" {
		name = clientTypeName(t)
	}
	if name != "" {
		return fmt.Sprintf("%s (%d)", name, uint32(t))
	}
	return fmt.Sprintf("packet type %d", uint32(t))
}

// Release is a MooseFS version as packets carry it: major:16 middle:8 and in
// the last byte minor*2, plus one in Pro builds; releases before 2.0 have the
// plain minor there. Releases compare as numbers.
type Release uint32

// NewRelease returns the Release of a community build.
func NewRelease(major uint16, middle, minor uint8) Release {
	if major >= 2 {
		minor *= 2
	}
	return Release(uint32(major)<<16 | uint32(middle)<<8 | uint32(minor))
}

// String returns for instance "3.0.117", or "4.59.2 Pro".
func (r Release) String() string {
	major, middle, minor := r>>16, r>>8&0xFF, r&0xFF
	if major < 2 {
		return fmt.Sprintf("%d.%d.%d", major, middle, minor)
	}
	s := fmt.Sprintf("%d.%d.%d", major, middle, minor/2)
	if minor&1 == 1 {
		s += " Pro"
	}
	return s
}
