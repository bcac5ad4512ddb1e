#include "runtime/Core/Model.h"

#include "runtime/Core/CpuFeatures.h"
#include "runtime/Core/Tensor.h"
#include "runtime/Core/Text.h"

#include <cstring>

namespace moe::rt {

static Status checkPorts(const moert_port *ports, uint32_t count) {
  for (uint32_t i = 0; i < count; ++i)
    if (!ports[i].name || ports[i].rank < 0 || ports[i].rank > MOE_MAX_RANK ||
        !elementSize(ports[i].dtype))
      return {Code::Internal,
              text("the model's descriptor has a bad port ", i)};
  return {};
}

Status checkDescriptor(const moert_model &model) {
  if (model.magic != MOERT_MAGIC)
    return {Code::Internal, "the model's descriptor is damaged: bad magic"};
  if (model.abi_major > MOERT_ABI_MAJOR)
    return {Code::Unsupported,
            text("the model was compiled for runtime interface ",
                 model.abi_major, ".", model.abi_minor, ", this runtime has ",
                 MOERT_ABI_MAJOR, ".", MOERT_ABI_MINOR)};
  std::string missing =
      missingCpuFeatures(model.cpu_features ? model.cpu_features : "");
  if (!missing.empty())
    return {Code::Unsupported,
            "the model was compiled for a processor with " + missing +
                ", which this one lacks; recompile with --target=cpu:native "
                "here or --target=cpu:x86-64-v3"};
  Status status = checkPorts(model.inputs, model.num_inputs);
  return status.ok() ? checkPorts(model.outputs, model.num_outputs) : status;
}

Result<uint32_t> findPort(const moert_port *ports, uint32_t count,
                          const char *kind, const char *name) {
  std::string known;
  for (uint32_t i = 0; i < count; ++i) {
    if (!std::strcmp(ports[i].name, name))
      return i;
    known += (i ? ", " : "") + quote(ports[i].name);
  }
  return {Code::NotFound, text("the model has no ", kind, " ", quote(name),
                               "; its ", kind, "s are ", known)};
}

static Status mismatch(const moe_port &port, const char *kind,
                       const std::string &got) {
  return {Code::InvalidArgument, text(kind, " ", quote(port.name), " is ", got,
                                      ", must be ", portText(port))};
}

Status checkTensor(const moe_port &port, const char *kind,
                   const moe_tensor &tensor) {
  if (tensor.rank < 0 || tensor.rank > MOE_MAX_RANK)
    return mismatch(port, kind, text("of rank ", tensor.rank));
  std::string got =
      dtypeName(tensor.dtype) + " " + shapeText(tensor.shape, tensor.rank);
  if (tensor.dtype != port.dtype || tensor.rank != port.rank)
    return mismatch(port, kind, got);
  for (int32_t i = 0; i < port.rank; ++i)
    if (port.dims[i] >= 0 && port.dims[i] != tensor.shape[i])
      return mismatch(port, kind, got);
  std::optional<int64_t> bytes = byteSize(tensor);
  if (!bytes)
    return {Code::InvalidArgument,
            text(kind, " ", quote(port.name), " has the impossible shape ",
                 shapeText(tensor.shape, tensor.rank))};
  if (*bytes && !tensor.data)
    return {Code::InvalidArgument,
            text(kind, " ", quote(port.name), " has no data")};
  return {};
}

Status checkSymbols(const moert_model &model, const moe_tensor *tensors) {
  for (uint32_t i = 0; i < model.num_inputs; ++i) {
    const moert_port &port = model.inputs[i];
    for (int32_t d = 0; d < port.rank; ++d) {
      if (port.dims[d] >= 0 || !port.dim_names[d][0])
        continue;
      // Compare with the first use of the symbol only: the earliest mismatch
      // is the one worth reporting.
      for (uint32_t j = 0; j <= i; ++j) {
        const moert_port &first = model.inputs[j];
        int32_t e = 0;
        while (e < first.rank &&
               (first.dims[e] >= 0 ||
                std::strcmp(first.dim_names[e], port.dim_names[d]) != 0))
          ++e;
        if (e == first.rank)
          continue;
        if (tensors[j].shape[e] != tensors[i].shape[d])
          return {Code::InvalidArgument,
                  text("size ", quote(port.dim_names[d]), " is ",
                       tensors[j].shape[e], " in input ", quote(first.name),
                       " but ", tensors[i].shape[d], " in input ",
                       quote(port.name))};
        break;
      }
    }
  }
  return {};
}

} // namespace moe::rt
