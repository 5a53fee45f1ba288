package proc

// For the tests.
var (
	StraceTotal = straceTotal
	PerfCount   = perfCount
	ParseBusy   = parseBusy
)
