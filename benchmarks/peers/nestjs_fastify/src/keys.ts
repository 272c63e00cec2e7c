// The public key, parsed once: jsonwebtoken would read the PEM text anew for each token.
import { createPublicKey, KeyObject } from "node:crypto";

export const key = createPublicKey(process.env.PUBLIC_KEY!) as KeyObject & string;
