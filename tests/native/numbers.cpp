// numbers: reads JSON lines, answers one each. {"hash": TEXT} gives its SHA-256; {"outputs": [{"values", "scale"}…]} its
// probe.
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "probe.h"
#include "sha256.h"

int main() {
    for (std::string line; std::getline(std::cin, line);) {
        const auto asked = nlohmann::json::parse(line);
        nlohmann::json answer;
        if (const auto text = asked.find("hash"); text != asked.end()) {
            const auto data = text->get<std::string>();
            answer = mnet::sha256(data.data(), data.size());
        } else {
            mnet::Outputs outputs;
            std::vector<mnet::TensorInfo> infos;
            for (const auto& output : asked.at("outputs")) {
                outputs.push_back(output.at("values"));
                infos.push_back({"", mnet::DType::float32, {}, false, output.at("scale")});
            }
            answer = mnet::probe(outputs, infos);
        }
        std::puts(answer.dump().c_str());
    }
}
