# The catalog with this one package, served by opm, for clusters whose CatalogSource names it: see docs/install/olm.md.
FROM quay.io/operator-framework/opm:v1.60.0
COPY olm/configs /configs
RUN ["/bin/opm", "serve", "/configs", "--cache-dir=/tmp/cache", "--cache-only"]
LABEL operators.operatorframework.io.index.configs.v1=/configs
ENTRYPOINT ["/bin/opm"]
CMD ["serve", "/configs", "--cache-dir=/tmp/cache"]
