package main

import "garita/accounts"

// users looks at who sends, and reads the file of those who may log in.
func (f *faults) users() {
	for _, err := range f.s.Identity.Validate() {
		f.addError("identity", err)
	}
	errs := f.s.Users.Validate()
	if len(errs) == 0 && f.s.Users.File != "" {
		_, errs = accounts.Load(f.s.Users)
	}
	for _, err := range errs {
		f.addError("users", err)
	}
}
