#include "frontends/ONNX/GraphSort.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSet.h"
#include <queue>

using namespace llvm;
using namespace moe::onnx;

/// Calls `visit` with every name that `node` reads, in subgraphs too; names
/// that a subgraph defines itself are its own.
static void forEachRead(const pb::Node &node,
                        function_ref<void(StringRef)> visit) {
  for (const std::string &name : node.input())
    visit(name);
  for (const pb::Attribute &attribute : node.attribute()) {
    auto inside = [&](const pb::Graph &graph) {
      StringSet<> own;
      for (const pb::ValueInfo &input : graph.input())
        own.insert(input.name());
      for (const pb::Tensor &tensor : graph.initializer())
        own.insert(tensor.name());
      for (const pb::Node &inner : graph.node())
        own.insert_range(inner.output());
      auto outside = [&](StringRef name) {
        if (!own.contains(name))
          visit(name);
      };
      for (const pb::Node &inner : graph.node())
        forEachRead(inner, outside);
      for (const pb::ValueInfo &output : graph.output())
        outside(output.name());
    };
    if (attribute.has_g())
      inside(attribute.g());
    for (const pb::Graph &graph : attribute.graphs())
      inside(graph);
  }
}

SmallVector<int>
moe::onnx::sortNodes(const google::protobuf::RepeatedPtrField<pb::Node> &nodes,
                     std::string &cycle) {
  StringMap<int> maker;
  for (auto [i, node] : enumerate(nodes))
    for (const std::string &name : node.output())
      if (!name.empty())
        maker.try_emplace(name, i);
  SmallVector<SmallVector<int>> readers(nodes.size());
  SmallVector<int> missing(nodes.size(), 0);
  for (auto [i, node] : enumerate(nodes))
    forEachRead(node, [&, reader = static_cast<int>(i)](StringRef name) {
      auto it = maker.find(name);
      if (it == maker.end())
        return;
      readers[it->second].push_back(reader);
      ++missing[reader];
    });
  // The lowest ready node first: sorted files keep their order.
  std::priority_queue<int, std::vector<int>, std::greater<int>> ready;
  for (auto [i, count] : enumerate(missing))
    if (count == 0)
      ready.push(i);
  SmallVector<int> order;
  while (!ready.empty()) {
    int node = ready.top();
    ready.pop();
    order.push_back(node);
    for (int reader : readers[node])
      if (--missing[reader] == 0)
        ready.push(reader);
  }
  if (static_cast<int>(order.size()) == nodes.size())
    return order;
  // Follow makers among the nodes left over until one comes twice.
  int node =
      find_if(missing, [](int count) { return count > 0; }) - missing.begin();
  SmallVector<int> path;
  while (!is_contained(path, node)) {
    path.push_back(node);
    int next = node;
    forEachRead(nodes[node], [&](StringRef name) {
      auto it = maker.find(name);
      if (it != maker.end() && missing[it->second] > 0)
        next = it->second;
    });
    node = next;
  }
  for (int on :
       ArrayRef<int>(path).drop_until([&](int n) { return n == node; }))
    cycle +=
        (cycle.empty() ? "'" : " <- '") +
        (nodes[on].name().empty() ? nodes[on].op_type() : nodes[on].name()) +
        "'";
  return order;
}
