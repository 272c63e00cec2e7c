// A gateway: checks the token, then hands the request to the service at TARGET with http-proxy-middleware.
import "reflect-metadata";
import { Module } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import { JwtModule, JwtService } from "@nestjs/jwt";
import type { NextFunction, Request, Response } from "express";
import { createProxyMiddleware } from "http-proxy-middleware";

@Module({
  imports: [JwtModule.register({ publicKey: process.env.PUBLIC_KEY, verifyOptions: { algorithms: ["RS256"] } })],
})
class AppModule {}

async function main(): Promise<void> {
  const app = await NestFactory.create(AppModule, { logger: false });
  const tokens = app.get(JwtService);
  app.use(async (request: Request, response: Response, next: NextFunction) => {
    const [kind, token] = request.headers.authorization?.split(" ") ?? [];
    try {
      await tokens.verifyAsync(kind === "Bearer" ? token : "");
    } catch {
      response.status(401).end();
      return;
    }
    next();
  });
  app.use(createProxyMiddleware({ target: process.env.TARGET }));
  await app.listen(Number(process.env.PORT), "127.0.0.1");
}

void main();
