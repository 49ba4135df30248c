// Reads the compiler's JavaScript object into a Program; structure and names only, numbers are prepare()'s matter.
#include "parse_program.h"

namespace cambium::binding {
namespace {

Operand parse_operand(const Value& object) {
  Operand operand;
  operand.buffer = object["buffer"].small();
  operand.dtype = dtype_named(object["dtype"].text());
  operand.offset = object["offset"].integer();
  operand.strides = object["strides"].integers();
  return operand;
}

Instruction parse_instruction(const Value& array) {
  Instruction instruction;
  const uint32_t length = array.length();
  if (length < 2) array.fail("[op, dst, ...operands]");
  instruction.op = vm_op_named(array.at(0).text());
  instruction.dst = array.at(1).small();
  const bool immediate = instruction.op == VmOp::constf || instruction.op == VmOp::consti;
  const bool indexed =
      instruction.op == VmOp::load || instruction.op == VmOp::random || instruction.op == VmOp::iota;
  const uint32_t operands = immediate || indexed ? 1 : static_cast<uint32_t>(vm_arity(instruction.op));
  if (length != 2 + operands) array.fail(std::to_string(operands) + " operands");
  if (immediate) {
    instruction.value = array.at(2).number();
  } else {
    for (uint32_t i = 0; i < operands; ++i) instruction.operands[i] = array.at(2 + i).small();
  }
  return instruction;
}

std::unique_ptr<Fused> parse_fused(const Value& object) {
  auto fused = std::make_unique<Fused>();
  fused->dims = object["dims"].integers();
  fused->cols = object["cols"].integer();
  const Value inputs = object["inputs"], outputs = object["outputs"], registers = object["registers"],
              code = object["code"], terminal = object["terminal"];
  for (uint32_t i = 0, n = inputs.length(); i < n; ++i) fused->inputs.push_back(parse_operand(inputs.at(i)));
  for (uint32_t i = 0, n = outputs.length(); i < n; ++i) {
    const Value output = outputs.at(i);
    fused->outputs.push_back(parse_operand(output));
    fused->outputs.back().reg = output["reg"].small();
  }
  for (uint32_t i = 0, n = registers.length(); i < n; ++i) {
    const std::string kind = registers.at(i).text();
    if (kind != "full" && kind != "row") registers.at(i).fail("'full' or 'row'");
    fused->row.push_back(kind == "row");
  }
  for (uint32_t i = 0, n = code.length(); i < n; ++i) {
    HandleScope scope(object.env);
    fused->code.push_back(parse_instruction(code.at(i)));
  }
  if (terminal.present()) {
    for (uint32_t i = 0, n = terminal.length(); i < n; ++i) {
      const Value item = terminal.at(i);
      fused->terminals.push_back({item["reg"].small(), reduce_op_named(item["op"].text()), item["buffer"].small(),
                                  item["outer"].integer(), item["count"].integer(), item["inner"].integer()});
    }
  }
  return fused;
}

Step parse_step(const Value& object) {
  Step step;
  step.kernel = kernel_named(object["kernel"].text());
  step.name = object["name"].text();
  step.in = object["in"].smalls();
  step.out = object["out"].smalls();
  const Value attrs = object["attrs"];
  for (const std::string& name : kernel_attributes(step.kernel)) {
    const Value attr = attrs[name.c_str()];
    const bool real = name == "value" || name == "scale" || name == "dropout";
    step.attrs.push_back(real ? attr.number() : static_cast<double>(attr.integer()));
  }
  const Value fused = object["fused"];
  if (fused.present()) step.fused = parse_fused(fused);
  return step;
}

}  // namespace

std::shared_ptr<Program> parse_program(napi_env env, napi_value object) {
  const Value root{env, object, "program"};
  auto program = std::make_shared<Program>();
  program->arena_bytes = root["arenaBytes"].integer();
  const Value buffers = root["buffers"], steps = root["steps"];
  for (uint32_t i = 0, n = buffers.length(); i < n; ++i) {
    HandleScope scope(env);
    const Value input = buffers.at(i)["input"];
    if (input.present()) program->buffers.push_back({true, input.integer()});
    else program->buffers.push_back({false, buffers.at(i)["arena"].integer()});
  }
  program->lengths = root["lengths"].integers();
  for (uint32_t i = 0, n = steps.length(); i < n; ++i) {
    HandleScope scope(env);
    program->steps.push_back(parse_step(steps.at(i)));
  }
  prepare(*program);
  return program;
}

}  // namespace cambium::binding
