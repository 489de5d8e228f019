// Package proto holds the .proto files; what is generated from them is
// committed beside them, so that a build needs no compiler for it.
//
// To generate anew, run "make generate", which installs protoc (Debian:
// protobuf-compiler) and the two plugins at the versions named here:
//
//	go install google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12
//	go install google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2
package proto

//go:generate protoc --go_out=. --go_opt=module=cardea/proto --go-grpc_out=. --go-grpc_opt=module=cardea/proto cardea/v1/gate.proto
