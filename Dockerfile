# Foreshard as an image: built once, run as an unprivileged user, state under /var/lib/foreshard. It runs on a read-only
# root. What it listens on is the configuration's default, 127.0.0.1:8080: FORESHARD_HTTP_HOST and both tokens open it.
FROM node:24.21.0-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
# No package's script runs: the native engines (classic-level, rocksdb-native) come as built files and are picked when loaded.
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY . .
RUN npm run build && npm prune --omit=dev --ignore-scripts --no-audit --no-fund \
  && find node_modules/rocksdb-native/prebuilds -mindepth 1 -maxdepth 1 ! -name 'linux-*' -exec rm -r {} +

FROM node:24.21.0-bookworm-slim
ENV NODE_ENV=production FORESHARD_DATA_DIR=/var/lib/foreshard
WORKDIR /app
COPY --from=build /app/package.json /app/LICENSE ./
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY --from=build /app/catalog ./catalog
COPY --from=build /app/weights ./weights
RUN mkdir -p /var/lib/foreshard && chown node:node /var/lib/foreshard
USER node
VOLUME /var/lib/foreshard
# `run` and `shard-server`.
EXPOSE 8080 7070
# Of `run`. Liveness, not readiness: an instance that restores its state is not to be restarted for it.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.FORESHARD_HTTP_PORT ?? 8080}/livez`).then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "dist/cli/cli.js"]
CMD ["run"]
