// A gateway: checks the token, then hands the request to the service at TARGET with @fastify/http-proxy.
import "reflect-metadata";
import httpProxy from "@fastify/http-proxy";
import { Module } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import { JwtModule, JwtService } from "@nestjs/jwt";
import { FastifyAdapter, NestFastifyApplication } from "@nestjs/platform-fastify";
import type { IncomingHttpHeaders } from "node:http";
import { key } from "./keys";

@Module({ imports: [JwtModule.register({ publicKey: key, verifyOptions: { algorithms: ["RS256"] } })] })
class AppModule {}

interface Answering {
  code(status: number): { send(): unknown };
}

async function main(): Promise<void> {
  const app = await NestFactory.create<NestFastifyApplication>(AppModule, new FastifyAdapter(), { logger: false });
  const tokens = app.get(JwtService);
  await app.register(httpProxy as never, {
    upstream: process.env.TARGET,
    preHandler: async (request: { headers: IncomingHttpHeaders }, reply: Answering) => {
      const [kind, token] = request.headers.authorization?.split(" ") ?? [];
      try {
        await tokens.verifyAsync(kind === "Bearer" ? token : "");
      } catch {
        return reply.code(401).send();
      }
    },
  });
  await app.listen(Number(process.env.PORT), "127.0.0.1");
}

void main();
