// Renders a template as the notifications of Argo CD do: text/template, over maps, with toJson of Sprig.
package main

import (
	"encoding/json"
	"os"
	"text/template"
)

func main() {
	var told struct {
		Template string
		Vars     map[string]interface{}
	}
	if err := json.NewDecoder(os.Stdin).Decode(&told); err != nil {
		panic(err)
	}
	toJSON := func(value interface{}) string {
		text, _ := json.Marshal(value)
		return string(text)
	}
	made := template.Must(template.New("body").Funcs(template.FuncMap{"toJson": toJSON}).Parse(told.Template))
	if err := made.Execute(os.Stdout, told.Vars); err != nil {
		panic(err)
	}
}
