package tls

import (
	"errors"
	"fmt"
)

// Config is the [tls] table.
type Config struct {
	CertificateFile string `toml:"certificate_file" doc:"PEM file with the certificate and its chain. Empty: a self-signed certificate is made in self_signed_dir on first start and renewed by itself."`
	KeyFile         string `toml:"key_file" doc:"PEM file with the private key; it must not be readable by everybody."`
	MinVersion      string `toml:"min_version" doc:"Lowest protocol version that clients may use: 1.2 or 1.3. On a public MX leave 1.2: a client that cannot do 1.3 would send in clear text."`
	SelfSignedDir   string `toml:"self_signed_dir" doc:"Folder of the self-signed certificate; empty: the folder tls in state_dir."`
}

// Default gives the defaults of the [tls] table.
func Default() Config { return Config{MinVersion: "1.2"} }

// Validate gives every fault at once, each naming its key. It reads no files.
func (c Config) Validate() error {
	var errs []error
	if (c.CertificateFile == "") != (c.KeyFile == "") {
		errs = append(errs, errors.New("certificate_file, key_file: give both or neither"))
	}
	if c.MinVersion != "1.2" && c.MinVersion != "1.3" {
		errs = append(errs, fmt.Errorf("min_version: %q is not 1.2 or 1.3", c.MinVersion))
	}
	return errors.Join(errs...)
}
