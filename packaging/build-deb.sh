#!/bin/sh
# Builds the Debian package: build-deb.sh FOLDER [VERSION] writes
# garita_VERSION_ARCH.deb into FOLDER. Equal sources and SOURCE_DATE_EPOCH make
# equal packages. GARITA_BIN, when set, is a program that is built already.
set -eu

out=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."
GO="${GO:-go}"
STAGE=$(mktemp -d)
trap 'rm -rf "$STAGE"' EXIT
ARCH=$("$GO" env GOARCH)
revision=$(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
# Debian versions begin with a digit; ~ sorts before every release.
VERSION="${2:-$(git describe --tags --exact-match 2>/dev/null | sed 's/^v//' || true)}"
VERSION="${VERSION:-0.0.0~$revision}"
SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}"
export STAGE ARCH VERSION SOURCE_DATE_EPOCH

if [ -n "${GARITA_BIN:-}" ]; then
	cp "$GARITA_BIN" "$STAGE/garita"
else
	CGO_ENABLED=0 "$GO" build -trimpath -ldflags "-s -w -X main.revision=$revision" -o "$STAGE/garita" ./cmd/gateway
fi
"$STAGE/garita" man --dir "$STAGE"
gzip -9n "$STAGE"/garita.8 "$STAGE"/garita-config.toml.5
"$STAGE/garita" completion bash >"$STAGE/garita.bash"
"$STAGE/garita" completion zsh >"$STAGE/_garita"
"$STAGE/garita" completion fish >"$STAGE/garita.fish"
find "$STAGE" -exec touch -d "@$SOURCE_DATE_EPOCH" {} +

"$GO" build -C packaging/nfpm -o "$STAGE/nfpm" github.com/goreleaser/nfpm/v2/cmd/nfpm
"$STAGE/nfpm" package --config packaging/nfpm.yaml --packager deb --target "$out/garita_${VERSION}_$ARCH.deb" >/dev/null
echo "$out/garita_${VERSION}_$ARCH.deb"
