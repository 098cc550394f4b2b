"""Reads each example with the class that was generated for it, and holds that the object says what the example says.

python3 read.py MODULES EXAMPLES     MODULES: what datamodel-codegen made of the schemas; EXAMPLES: NAME.json, NAME.N.json
"""
import importlib, json, pathlib, sys

modules, examples = map(pathlib.Path, sys.argv[1:])
sys.path.insert(0, str(modules))
paths = sorted(examples.iterdir())
for path in paths:
    name = path.name.split(".")[0]
    example = json.loads(path.read_text())
    read = getattr(importlib.import_module(name), name).model_validate(example)
    said = json.loads(read.model_dump_json(by_alias=True, exclude_unset=True))
    assert said == example, f"{path.name}\n{example}\nis read as\n{said}"
print(len(paths), "examples")
