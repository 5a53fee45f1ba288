package rules

// Parse reads a rule file. The file may be used only when there is no problem
// but warnings.
func Parse(src Source, o ParseOptions) (*File, []Problem) { panic("to be written") }
