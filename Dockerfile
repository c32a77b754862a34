# The daemon in a container. To build: docker build --tag firezone . ; to run: README.md, "In a container".
# scripts/container-image makes the same image without an engine: it runs the same script, and takes the settings below from
# this file.

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --locked --release --package firezoned --package firezonectl
RUN scripts/image-root target/release /image

FROM scratch
COPY --from=build /image/ /
LABEL org.opencontainers.image.title=firezoned
LABEL org.opencontainers.image.licenses=Apache-2.0
ENV PATH=/usr/bin
# Says that nobody else is in here: see firezoned(8), IN A CONTAINER.
ENV container=oci
# What identifies this device to the portal.
VOLUME /var/lib/dev.firezone.client
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["firezonectl", "status", "--quiet"]
ENTRYPOINT ["firezoned"]
