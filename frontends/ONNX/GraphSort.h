#ifndef MOE_FRONTENDS_ONNX_GRAPHSORT_H
#define MOE_FRONTENDS_ONNX_GRAPHSORT_H

#include "frontends/ONNX/onnx.pb.h"
#include "llvm/ADT/SmallVector.h"

namespace moe::onnx {

/// An order of `nodes` in which every value is made before it is read (files
/// are meant to be sorted, but not all are); the file's order where that
/// serves. Values read inside subgraphs count. Where there is a cycle, the
/// result is shorter than `nodes`, and `cycle` names nodes on it.
llvm::SmallVector<int>
sortNodes(const google::protobuf::RepeatedPtrField<pb::Node> &nodes,
          std::string &cycle);

} // namespace moe::onnx

#endif // MOE_FRONTENDS_ONNX_GRAPHSORT_H
