# The one image of operator, controller, webhook server and speaker: a single static file, called by several names.
#
#   docker build --tag ghcr.io/metallb-rs/metallb:v0.1.0 \
#     --build-arg REVISION=$(git rev-parse HEAD) --build-arg CREATED=$(date --utc +%FT%TZ) .
# It is built for the machine that builds it, amd64 or arm64. The digest is that of the tag's index of architectures.
ARG RUST=docker.io/library/rust:1.95.0-slim-bookworm@sha256:d7482085ff5b415f84dba5647ae71606650bdef00db7aeb69f4b3d170c3e4082
FROM ${RUST} AS build
WORKDIR /src
COPY . .
RUN .ci/rootfs "$(.ci/program)" /rootfs

FROM scratch
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="MetalLB-rs" \
      org.opencontainers.image.description="Load balancer for bare-metal clusters: operator, controller and speaker" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/metallb-rs/metallb-rs" \
      org.opencontainers.image.documentation="https://github.com/metallb-rs/metallb-rs/tree/main/docs" \
      org.opencontainers.image.vendor="MetalLB-rs" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
COPY --from=build /rootfs/ /
USER 65534:65534
ENTRYPOINT ["/metallb"]
