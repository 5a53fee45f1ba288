package mail

// Path is an address.
type Path struct{ Local, Domain string }
