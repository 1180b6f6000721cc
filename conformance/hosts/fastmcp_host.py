"""MCP host made of the FastMCP client: a refusal is a success with `stopReason` "cancelled", as in Copilot CLI."""

from __future__ import annotations

import asyncio
import os

import mcp_types as types
from fastmcp import Client
from fastmcp.client.transports import StdioTransport

import attach
from scripted_model import MODEL, Refused, ScriptedModel


async def main() -> None:
    arguments = attach.read_arguments()
    model = ScriptedModel()

    async def sample(_messages, params: types.CreateMessageRequestParams, _context) -> (
            types.CreateMessageResult | types.CreateMessageResultWithTools):
        try:
            # A ModelError needs no translation: FastMCP reports whatever its handler raises as -32603.
            content, stop_reason = await model.answer(params.model_dump(by_alias=True, mode="json", exclude_none=True))
        except Refused:
            return types.CreateMessageResult.model_validate(
                {"role": "user", "model": "", "stopReason": "cancelled",
                 "content": {"type": "text", "text": "The user cancelled the request."}}
            )
        # FastMCP hosts commonly send no stop reason for an ordinary end.
        end = {} if stop_reason == "endTurn" else {"stopReason": stop_reason}
        kind = types.CreateMessageResultWithTools if isinstance(content, list) else types.CreateMessageResult
        return kind.model_validate({"role": "assistant", "model": MODEL, "content": content} | end)

    bridge = StdioTransport(arguments.command[0], arguments.command[1:], env=dict(os.environ), keep_alive=False)
    async with Client(bridge, sampling_handler=sample, mode=arguments.negotiation,
                      sampling_capabilities=attach.sampling(arguments)) as client:

        async def call_tool(name: str, values: dict) -> dict:
            result = await client.call_tool(name, values, raise_on_error=False)
            content = [block.model_dump(by_alias=True, mode="json", exclude_none=True) for block in result.content]
            return {"isError": result.is_error, "content": content, "structuredContent": result.structured_content}

        async def list_tools() -> list[str]:
            return [tool.name for tool in await client.list_tools()]

        await attach.serve(arguments.base_url, call_tool, list_tools)


asyncio.run(main())
