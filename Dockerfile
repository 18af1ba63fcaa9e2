# For those who have a container engine: `make docker-build`. `make image` needs none.
#
# Built on the machine's own platform and cross-compiled for the target, so that no emulation is needed.
FROM --platform=$BUILDPLATFORM golang:1.26 AS build
WORKDIR /src

# A layer of its own: downloaded again only when the modules change.
COPY go.mod go.sum ./
RUN go mod download

COPY main.go ./
COPY api/ api/
COPY controllers/ controllers/
COPY internal/ internal/
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=(devel)
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -ldflags "-s -w -X 'main.version=$VERSION'" -o /manager .

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /manager /manager
# By number, as runAsNonRoot cannot check a name.
USER 65532:65532
ENTRYPOINT ["/manager"]
