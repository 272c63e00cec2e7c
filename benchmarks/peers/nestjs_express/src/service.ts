// A service: a guard checks the token, a controller answers the caller's row of DATABASE.
import "reflect-metadata";
import {
  CanActivate, Controller, ExecutionContext, Get, Injectable, Module, NotFoundException, Req, UnauthorizedException,
  UseGuards,
} from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import { JwtModule, JwtService } from "@nestjs/jwt";
import type { Request } from "express";
import { Pool } from "pg";

interface Signed extends Request {
  user: { sub: string };
}

@Injectable()
class AuthGuard implements CanActivate {
  constructor(private readonly tokens: JwtService) {}

  async canActivate(context: ExecutionContext): Promise<boolean> {
    const request = context.switchToHttp().getRequest<Signed>();
    const [kind, token] = request.headers.authorization?.split(" ") ?? [];
    try {
      request.user = await this.tokens.verifyAsync(kind === "Bearer" ? token : "");
    } catch {
      throw new UnauthorizedException();
    }
    return true;
  }
}

@Injectable()
class UsersService {
  private readonly pool = new Pool({ connectionString: process.env.DATABASE, max: 10 });

  async find(id: string): Promise<object | undefined> {
    const found = await this.pool.query(process.env.SELECT!, [id]);
    return found.rows[0];
  }
}

@Controller("api/v1/users")
class UsersController {
  constructor(private readonly users: UsersService) {}

  @Get("me")
  @UseGuards(AuthGuard)
  async me(@Req() request: Signed): Promise<object> {
    const row = await this.users.find(request.user.sub);
    if (row === undefined) throw new NotFoundException();
    return row;
  }
}

@Module({
  imports: [JwtModule.register({ publicKey: process.env.PUBLIC_KEY, verifyOptions: { algorithms: ["RS256"] } })],
  controllers: [UsersController],
  providers: [UsersService],
})
class AppModule {}

async function main(): Promise<void> {
  const app = await NestFactory.create(AppModule, { logger: false });
  await app.listen(Number(process.env.PORT), "127.0.0.1");
}

void main();
