// A bare proxy: NestJS on express with http-proxy-middleware, and nothing else. PORT listens, TARGET is asked.
import "reflect-metadata";
import { Module } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import { createProxyMiddleware } from "http-proxy-middleware";

@Module({})
class AppModule {}

async function main(): Promise<void> {
  const app = await NestFactory.create(AppModule, { logger: false });
  app.use(createProxyMiddleware({ target: process.env.TARGET }));
  await app.listen(Number(process.env.PORT), "127.0.0.1");
}

void main();
