package keys

func programRows() []effect { return nil }
