package main

import (
	"fmt"
	"maps"
	"os"
	"os/user"
	"slices"
	"strconv"
	"syscall"

	"garita/config"
)

// account is a user of the machine, as permission bits see him.
type account struct {
	name   string
	uid    uint32
	groups []uint32
}

// serviceAccount is the user of the systemd unit; false when this machine has
// none.
func serviceAccount() (account, bool) {
	u, err := user.Lookup(serviceGroup)
	if err != nil {
		return account{}, false
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil || uid == 0 {
		return account{}, false
	}
	a := account{name: u.Username, uid: uint32(uid)}
	list, _ := u.GroupIds()
	for _, text := range append(list, u.Gid) {
		if gid, err := strconv.ParseUint(text, 10, 32); err == nil {
			a.groups = append(a.groups, uint32(gid))
		}
	}
	return a, true
}

// reads tells whether the permission bits of a file let the account read it.
// What cannot be asked is taken to be readable.
func (a account) reads(file string) bool {
	info, err := os.Stat(file)
	if err != nil {
		return true
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok:
		return true
	case st.Uid == a.uid:
		return info.Mode().Perm()&0o400 != 0
	case slices.Contains(a.groups, st.Gid):
		return info.Mode().Perm()&0o040 != 0
	}
	return info.Mode().Perm()&0o004 != 0
}

// ownerOf is the user that a folder belongs to; 0 for root's, and for none.
func ownerOf(dir string) uint32 {
	info, err := os.Stat(dir)
	if err != nil {
		return 0
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0
	}
	return st.Uid
}

// warnOfRoot says what root may read and the service may not: config check is
// run by root, and the gateway by its own user.
func (a account) warnOfRoot(doc *config.Document, s *Settings) {
	warn := func(key, file string) {
		if file != "" && !a.reads(file) {
			doc.Warn(key, fmt.Sprintf("%s may be read by root and not by user %s, who runs the service", strconv.Quote(file), a.name),
				"chgrp "+a.name+", chmod 0640")
		}
	}
	for _, file := range doc.Files {
		warn("", file)
	}
	warn("tls.certificate_file", s.TLS.CertificateFile)
	warn("tls.key_file", s.TLS.KeyFile)
	for _, name := range slices.Sorted(maps.Keys(s.TLS.Certificate)) {
		c := s.TLS.Certificate[name]
		warn(config.Path("tls", "certificate", name, "certificate_file"), c.CertificateFile)
		warn(config.Path("tls", "certificate", name, "key_file"), c.KeyFile)
	}
	for _, name := range slices.Sorted(maps.Keys(s.NextHop)) {
		h := s.NextHop[name]
		warn(config.Path("next_hop", name, "ca_file"), h.CAFile)
		warn(config.Path("next_hop", name, "client_certificate_file"), h.ClientCertificateFile)
		warn(config.Path("next_hop", name, "client_key_file"), h.ClientKeyFile)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Listener)) {
		warn(config.Path("listener", name, "client_ca_file"), s.Listener[name].ClientCAFile)
	}
	warn("users.file", s.Users.File)
	for key, files := range map[string][]string{
		"route.recipient_files": s.Route.RecipientFiles, "route.sender_files": s.Route.SenderFiles,
		"route.alias_files": s.Route.AliasFiles, "route.recipient_list_files": s.Route.RecipientListFiles,
		"check.access.client_files": s.Check.Access.ClientFiles, "check.access.name_files": s.Check.Access.NameFiles,
		"check.access.helo_files": s.Check.Access.HeloFiles, "check.access.sender_files": s.Check.Access.SenderFiles,
		"check.access.recipient_files": s.Check.Access.RecipientFiles,
	} {
		for _, file := range files {
			warn(key, file)
		}
	}
}
