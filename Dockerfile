# Foreshard as an image: built once, run as an unprivileged user, state under /var/lib/foreshard.
FROM node:20-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY . .
RUN npm run build && npm prune --omit=dev

FROM node:20-bookworm-slim
ENV NODE_ENV=production FORESHARD_DATA_DIR=/var/lib/foreshard
WORKDIR /app
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY --from=build /app/catalog ./catalog
RUN mkdir -p /var/lib/foreshard && chown node:node /var/lib/foreshard
USER node
VOLUME /var/lib/foreshard
EXPOSE 7070
ENTRYPOINT ["node", "dist/topology/cli.js"]
CMD ["run"]
