"""The public door: who comes in, for what, in whose name, and how much.

caller          who calls, and how the rest of the gateway knows
scopes          method → what a credential must be good for
keys            API keys → callers
token_keys      public keys that tokens are verified by
tokens          JSON Web Tokens → callers
authentication  looks at every call before its request is read
bucket          images a second, with bursts (pure)
quotas          a bucket for each tenant
door            what of it the settings ask for
"""
