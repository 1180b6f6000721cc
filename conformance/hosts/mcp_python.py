"""MCP host made of the official Python SDK (`mcp`): every refusal is JSON-RPC error -1."""

from __future__ import annotations

import asyncio
import os

import mcp_types as types
from mcp import Client, StdioServerParameters

import attach
from scripted_model import MODEL, ModelError, Refused, ScriptedModel


async def main() -> None:
    arguments = attach.read_arguments()
    model = ScriptedModel()

    async def sample(_context, params: types.CreateMessageRequestParams):
        try:
            content, stop_reason = await model.answer(params.model_dump(by_alias=True, mode="json", exclude_none=True))
        except Refused:
            return types.ErrorData(code=-1, message="User rejected sampling request")
        except ModelError as error:
            return types.ErrorData(code=types.INTERNAL_ERROR, message=str(error))
        kind = types.CreateMessageResultWithTools if isinstance(content, list) else types.CreateMessageResult
        return kind.model_validate(
            {"role": "assistant", "model": MODEL, "stopReason": stop_reason, "content": content}
        )

    bridge = StdioServerParameters(command=arguments.command[0], args=arguments.command[1:], env=dict(os.environ))
    async with Client(bridge, sampling_callback=sample, mode=arguments.negotiation,
                      sampling_capabilities=attach.sampling(arguments)) as client:

        async def call_tool(name: str, values: dict) -> dict:
            result = await client.call_tool(name, values)
            return result.model_dump(by_alias=True, mode="json", exclude_none=True)

        async def list_tools() -> list[str]:
            return [tool.name for tool in (await client.list_tools()).tools]

        await attach.serve(arguments.base_url, call_tool, list_tools)


asyncio.run(main())
