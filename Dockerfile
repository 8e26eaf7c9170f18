# The one image of operator, controller, webhook server and speaker: a single static file, called by three names.
#
#   docker build --tag ghcr.io/metallb-rs/metallb:v0.1.0 \
#     --build-arg REVISION=$(git rev-parse HEAD) --build-arg CREATED=$(date --utc +%FT%TZ) .
FROM docker.io/library/rust:1.95.0-alpine AS build
RUN apk add --no-cache build-base
WORKDIR /src
COPY . .
RUN cargo build --locked --profile dist --package metallb-image --target x86_64-unknown-linux-musl
RUN sh .ci/rootfs target/x86_64-unknown-linux-musl/dist/metallb /rootfs

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
