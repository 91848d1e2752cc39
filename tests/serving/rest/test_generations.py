"""OpenAI's images endpoint, by OpenAI's own client."""

from __future__ import annotations

import base64
import io

from PIL import Image

from router.recipe import read_recipe


def test_openai_client_draws_images_that_carry_their_recipes(serve):
    served = serve()
    answer = served.openai().images.generate(
        prompt="3", n=2, size="8x8", extra_body={"seed": 5, "strategy": "top-2"}
    )
    files = [io.BytesIO(base64.b64decode(each.b64_json)) for each in answer.data]
    recipes = [read_recipe(file) for file in files]
    assert [Image.open(file).size for file in files] == [(8, 8), (8, 8)]
    assert [(it.seed, it.condition, it.strategy) for it in recipes] == [
        (5, "3", "top-2"),
        (6, "3", "top-2"),
    ]
    assert answer.data[0].revised_prompt == "3"
