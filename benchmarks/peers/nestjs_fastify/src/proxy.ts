// A bare proxy: NestJS on fastify with @fastify/http-proxy, and nothing else. PORT listens, TARGET is asked.
import "reflect-metadata";
import httpProxy from "@fastify/http-proxy";
import { Module } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import { FastifyAdapter, NestFastifyApplication } from "@nestjs/platform-fastify";

@Module({})
class AppModule {}

async function main(): Promise<void> {
  const app = await NestFactory.create<NestFastifyApplication>(AppModule, new FastifyAdapter(), { logger: false });
  await app.register(httpProxy as never, { upstream: process.env.TARGET });
  await app.listen(Number(process.env.PORT), "127.0.0.1");
}

void main();
