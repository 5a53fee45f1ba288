package tls

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
)

// maxCertificates bounds the [tls.certificate] tables.
const maxCertificates = 100

// Config is the [tls] table.
type Config struct {
	CertificateFile string                       `toml:"certificate_file" doc:"PEM file with the certificate and its chain, the server's own first. It is shown to clients that name no server, or one that no other certificate is for. Empty: the certificate below that is for hostname, or else a self-signed one, made in self_signed_dir on first start and renewed by itself. Renewed files are noticed within a minute; a broken one leaves the old in use."`
	KeyFile         string                       `toml:"key_file" doc:"PEM file with the private key; it must not be readable by everybody (root:garita 0640, or 0600)."`
	MinVersion      string                       `toml:"min_version" doc:"Lowest protocol version that clients may use: 1.2 or 1.3. On a public MX leave 1.2: a client that cannot do 1.3 would send in clear text."`
	SelfSignedDir   string                       `toml:"self_signed_dir" doc:"Folder of the self-signed certificate; empty: the folder tls in state_dir."`
	Certificate     map[string]CertificateConfig `toml:"certificate" example:"other" doc:"More certificates. Which one a client gets is decided by the server name that it asks for and the names in the certificates; an RSA and an ECDSA certificate of one name go together."`
}

// CertificateConfig is a [tls.certificate.NAME] table.
type CertificateConfig struct {
	CertificateFile string `toml:"certificate_file" doc:"PEM file with the certificate and its chain."`
	KeyFile         string `toml:"key_file" doc:"PEM file with the private key; it must not be readable by everybody."`
}

// Default gives the defaults of the [tls] table.
func Default() Config { return Config{MinVersion: "1.2"} }

// Validate gives every fault at once, each naming its key. It reads no files.
func (c Config) Validate() error {
	var errs []error
	if (c.CertificateFile == "") != (c.KeyFile == "") {
		errs = append(errs, errors.New("certificate_file, key_file: give both or neither"))
	}
	for key, value := range map[string]string{"certificate_file": c.CertificateFile, "key_file": c.KeyFile} {
		if value != "" && !filepath.IsAbs(value) {
			errs = append(errs, fmt.Errorf("%s: %q does not begin with \"/\"", key, value))
		}
	}
	if c.MinVersion != "1.2" && c.MinVersion != "1.3" {
		errs = append(errs, fmt.Errorf("min_version: %q is not 1.2 or 1.3", c.MinVersion))
	}
	if len(c.Certificate) > maxCertificates {
		errs = append(errs, fmt.Errorf("certificate: more than %d tables; one certificate can have many names", maxCertificates))
	}
	for _, name := range slices.Sorted(maps.Keys(c.Certificate)) {
		one := c.Certificate[name]
		for key, value := range map[string]string{"certificate_file": one.CertificateFile, "key_file": one.KeyFile} {
			if value == "" {
				errs = append(errs, fmt.Errorf("certificate.%s.%s: is missing; give the path of a PEM file, or remove the table", name, key))
			} else if !filepath.IsAbs(value) {
				errs = append(errs, fmt.Errorf("certificate.%s.%s: %q does not begin with \"/\"", name, key, value))
			}
		}
	}
	return errors.Join(errs...)
}

// A source is a pair of files that a certificate is read from; no files means
// the self-made one.
type source struct {
	name              string // of the table; empty for the default
	certFile, keyFile string
}

func (s source) selfMade() bool { return s.certFile == "" }

// label is the name of a source for people: the table's.
func (s source) label() string {
	if s.name == "" {
		return "default"
	}
	return s.name
}

// sources are the configured pairs, the default first where it has files, the
// rest in the order of their names.
func (c Config) sources() []source {
	var out []source
	if c.CertificateFile != "" {
		out = append(out, source{"", c.CertificateFile, c.KeyFile})
	}
	for _, name := range slices.Sorted(maps.Keys(c.Certificate)) {
		one := c.Certificate[name]
		out = append(out, source{name, one.CertificateFile, one.KeyFile})
	}
	return out
}
