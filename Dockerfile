# Garita as a static binary in an empty image, without root.
#
#   docker build -t garita .
#   docker run --rm -v garita-config:/etc/garita garita \
#     init --log stderr --hostname mx.example.org --domain example.org --next-hop mail:25 \
#     --inbound 0.0.0.0:2525 --outbound 0.0.0.0:2526 --smart-host smarthost:25 --trust 172.16.0.0/12 --mode observe --yes
#   docker run -d --name garita -p 25:2525 -p 26:2526 \
#     -v garita-config:/etc/garita -v garita-state:/var/lib/garita garita
#   docker exec garita /usr/bin/garita status
#
# Ports below 1024 need a privilege that the image does not have: publish
# 25:2525 instead. A test runs the RUN lines of the build stage.

FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o garita ./cmd/gateway
RUN mkdir -p rootfs/etc/garita rootfs/var/lib/garita rootfs/run/garita rootfs/tmp && chmod 1777 rootfs/tmp

FROM scratch
# For next hops with tls = "verify" and no ca_file.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build --chown=65532:65532 /src/rootfs/ /
COPY --from=build /src/garita /usr/bin/garita
USER 65532:65532
VOLUME ["/etc/garita", "/var/lib/garita"]
EXPOSE 2525 2526
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD ["/usr/bin/garita", "health", "--config", "/etc/garita/config.toml"]
ENTRYPOINT ["/usr/bin/garita"]
CMD ["run", "--config", "/etc/garita/config.toml"]
