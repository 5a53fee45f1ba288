#!/bin/sh
# Installs the Debian packages that the end-to-end tests use, and keeps
# Debian's own Postfix from listening: the tests start private instances.
# Without root it only says what is missing.
set -eu

packages="postfix postfix-pcre swaks openssl pflogsumm fail2ban util-linux procps unbound rbldnsd haproxy dovecot-core dovecot-lmtpd systemd clamav-daemon logrotate groff-base zsh fish iproute2 rspamd spamd libreoffice-writer-nogui libreoffice-calc-nogui qpdf"
packages="$packages redis-server redis-sentinel"
packages="$packages zip p7zip-full genisoimage gcab arj cpio binutils xz-utils zstd lz4 bzip2 ncompress python3"
packages="$packages mutt s-nail mpack libmime-lite-perl libmime-tools-perl"
packages="$packages postgrey faketime opendkim"
missing=
for p in $packages; do
	status=$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null || true)
	[ "$status" = installed ] || missing="$missing $p"
done

if [ -n "$missing" ]; then
	if [ "$(id -u)" != 0 ]; then
		echo "missing Debian packages:$missing" >&2
		echo "run as root: apt-get install$missing" >&2
		exit 1
	fi
	# While packages are unpacked no service may start: not Postfix on port
	# 25 of this machine, not fail2ban. policy-rc.d is Debian's way to say so.
	rc=/usr/sbin/policy-rc.d
	made=
	if [ ! -e "$rc" ]; then
		printf '#!/bin/sh\nexit 101\n' >"$rc"
		chmod 755 "$rc"
		made=1
	fi
	trap '[ -z "$made" ] || rm -f "$rc"' EXIT
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -qq
	# shellcheck disable=SC2086 # a list of words
	apt-get install -qq -y --no-install-recommends $missing >/dev/null
	echo "installed:$missing"
fi

if [ "$(id -u)" != 0 ]; then
	echo "not root: the tests that start Postfix will fail, and say so" >&2
fi
